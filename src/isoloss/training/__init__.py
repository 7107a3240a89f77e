"""The gradient loop, schedules, and the meters that count what a run costs."""
