"""The colours of pages and of figures that stand alone: CSS variables, their values by day and by night."""

DAY = {
    "page": "#fff", "panel": "#f5f5f3", "text": "#1d1f21", "muted": "#64696f", "line": "#e2e2de", "accent": "#1f5f9f",
    "on-accent": "#fff", "warn": "#b3261e",
}  # fmt: skip

NIGHT = {
    "page": "#16181b", "panel": "#1f2226", "text": "#e4e4e0", "muted": "#9a9fa6", "line": "#31353a",
    "accent": "#74aee6", "on-accent": "#0e1114", "warn": "#f2887d",
}  # fmt: skip

LAYER_COLOURS = {
    "layer-input": "#c9ccd0", "layer-conv": "#4c86c6", "layer-pool": "#d9724f", "layer-dense": "#4f9d69",
    "layer-shape": "#c0719c", "layer-norm": "#e0b13f", "layer-activation": "#8f6cc0", "layer-dropout": "#a3aab2",
    "layer-residual": "#2f9aa0", "layer-backbone": "#6b7fb3", "layer-other": "#a98467",
}  # fmt: skip
"""The colour of each family of layers: tones that stand out on white and on black."""

MAP_COLOURS = (
    "#3f7fd0", "#d2622f", "#2f9150", "#c0549c", "#a5851c", "#7f63cf", "#16939c", "#cc4a5c", "#6f8f2a", "#8b7765",
)  # fmt: skip
"""The colours of classes on the map: each has a contrast of at least 3.4 with the page, by day and by night."""
