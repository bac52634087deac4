"""The lab: does it help, on these pictures? Variants of a recipe tried side by side. Stands on every room below."""
