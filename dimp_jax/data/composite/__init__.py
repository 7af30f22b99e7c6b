"""The source "composite": cut-out objects moved over real backgrounds and videos."""
