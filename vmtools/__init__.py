"""The host side of VMware Tools: the backdoor, its messages, and the services that speak over them."""
