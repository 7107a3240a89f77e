"""What learns from pictures: networks, and ways of using pictures without labels."""
