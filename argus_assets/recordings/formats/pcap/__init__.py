"""Packet captures: pcap and pcapng, of CAN and of Ethernet."""
