"""Networks: built from architectures, with weights of their own or shared ones; timm's, in and out."""
