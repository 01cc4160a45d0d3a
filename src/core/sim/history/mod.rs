//! What clients asked and were told, and the two checkers that judge it.
