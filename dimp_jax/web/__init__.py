"""The page of `dimp-jax demo`: a clip, a box on its first frame, the tracked video, the boxes.

A request comes through `guard` to `app`, whose `session` keeps clips (`clips`) and what was tracked
in them (`jobs`, one at a time); `views` draws the frames of the video. `page.html`, `page.css` and
`page.js` are served as they are.
"""
