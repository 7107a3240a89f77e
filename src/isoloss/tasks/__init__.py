"""What is learned: data, splits, quality, its direction, the kind of its floor, and a version."""

from isoloss.registry import Registry
from isoloss.tasks.base import Floor, Task

#: name -> module that registers it
BUILTIN = {
    "language/sotu": "isoloss.tasks.text.sotu",
    "language/text": "isoloss.tasks.text.files",
    "language/hub": "isoloss.tasks.text.hub",
    "language/debian": "isoloss.tasks.text.packaged",
    "language/linux": "isoloss.tasks.text.packaged",
    "geometry/rotated-digits": "isoloss.tasks.rotated_digits",
    "geometry/rotated-mnist": "isoloss.tasks.rotated_mnist",
    "vision/digits": "isoloss.tasks.vision.digits",
    "vision/mnist": "isoloss.tasks.vision.mnist",
    "vision/fashion-mnist": "isoloss.tasks.vision.fashion_mnist",
    "vision/glyphs": "isoloss.tasks.vision.glyphs",
    "vision/new-classes": "isoloss.tasks.vision.new_classes",
}

tasks: Registry[Task] = Registry("task", BUILTIN, "isoloss.tasks")
task = tasks.register

__all__ = ["Floor", "Task", "task", "tasks"]
