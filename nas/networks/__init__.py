"""Networks built from architectures, with their own or shared weights, folded, and exchanged with timm."""
