"""Block traces as streams of what was asked of a disk: text of blkparse, iologs of fio. Pure: lines come in."""
