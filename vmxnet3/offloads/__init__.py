"""What the NIC does to frames, or finds out about them: checksums, segmentation, tunnels, RSS, LRO. All pure."""
