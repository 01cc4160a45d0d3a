//! Quorate's actors.
