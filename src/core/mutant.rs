//! Bugs on purpose. A suite is worth what it finds when known bugs are put back, so the places
//! where others went wrong hold their bug behind a switch.
//!
//! Without the feature `mutants`, which no product has, [`mutant!`] is the constant `false` and
//! nothing of this is compiled. With it, [`arm`] puts one bug into this thread's cores.

#[cfg(feature = "mutants")]
use std::cell::Cell;

#[cfg(feature = "mutants")]
macro_rules! mutants {
    ($($(#[doc = $doc:literal])+ $name:ident,)*) => {
        /// The bugs.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Mutant { $($(#[doc = $doc])+ $name,)* }

        impl Mutant {
            /// Every one.
            pub const ALL: &[Mutant] = &[$(Mutant::$name,)*];

            /// Its name, as in the code.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self { $(Mutant::$name => stringify!($name),)* }
            }

            /// What is wrong, in a sentence.
            #[must_use]
            pub fn sentence(self) -> &'static str {
                match self { $(Mutant::$name => concat!($($doc),+).trim_ascii(),)* }
            }
        }
    };
}

#[cfg(feature = "mutants")]
mutants! {
    /// A leader commits entries of earlier terms by counting copies (C-1).
    CommitsOldTermsByCounting,
    /// A vote is not part of what is made durable (C-13).
    VoteIsNotPersisted,
}

#[cfg(feature = "mutants")]
thread_local! {
    static ARMED: Cell<Option<Mutant>> = const { Cell::new(None) };
}

/// Puts one bug, or none, into the cores of this thread.
#[cfg(feature = "mutants")]
pub fn arm(mutant: Option<Mutant>) {
    ARMED.set(mutant);
}

/// Whether that bug is in.
#[cfg(feature = "mutants")]
#[must_use]
pub fn is_armed(mutant: Mutant) -> bool {
    ARMED.get() == Some(mutant)
}

/// Whether the bug of that name is in: `false`, and no code, without the feature `mutants`.
macro_rules! mutant {
    ($name:ident) => {{
        #[cfg(feature = "mutants")]
        let armed = $crate::mutant::is_armed($crate::mutant::Mutant::$name);
        #[cfg(not(feature = "mutants"))]
        let armed = false;
        armed
    }};
}
