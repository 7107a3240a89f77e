"""The laws that come with isoloss, one file a family."""
