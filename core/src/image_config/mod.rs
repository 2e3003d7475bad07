//! What an image says about itself: kernel arguments, install defaults, its name.
