"""What tests and local runs need: real servers on free ports, patience, and whole clusters; never imported by services."""
