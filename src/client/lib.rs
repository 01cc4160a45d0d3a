//! An async client of Quorate.
