"""What others have published: public run tables, each with its source."""
