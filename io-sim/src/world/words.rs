//! Plain data as lines of words: `name number number ...`.
//!
//! A schedule is a text that people read, cut and mail; every item of it is a name and whole
//! numbers. The two macros declare such an item once and derive both directions.

/// An enum whose variants are a word and numbers.
macro_rules! worded_enum {
    ($(#[$doc:meta])* $name:ident {
        $($(#[$variant_doc:meta])* $variant:ident $word:literal {
            $($(#[$field_doc:meta])* $field:ident),* $(,)?
        })*
    }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $name {
            $($(#[$variant_doc])* $variant { $($(#[$field_doc])* $field: u64,)* },)*
        }

        impl $name {
            /// The variant's word.
            pub fn word(&self) -> &'static str {
                match self { $(Self::$variant { .. } => $word,)* }
            }

            /// Every word there is.
            pub const WORDS: &'static [&'static str] = &[$($word,)*];

            /// Appends the word and the numbers.
            pub fn write(&self, line: &mut String) {
                use std::fmt::Write;
                line.push_str(self.word());
                match self {
                    $(Self::$variant { $($field),* } => {
                        $(write!(line, " {}", $field).expect("a string takes all");)*
                    })*
                }
            }

            /// Reads what [`write`](Self::write) wrote.
            pub fn read(word: &str, numbers: &[u64]) -> Option<Self> {
                let mut numbers = numbers.iter().copied();
                let item = match word {
                    $($word => Self::$variant { $($field: numbers.next()?,)* },)*
                    _ => return None,
                };
                numbers.next().is_none().then_some(item)
            }
        }
    };
}

/// A struct of numbers.
macro_rules! worded_struct {
    ($(#[$doc:meta])* $name:ident {
        $($(#[$field_doc:meta])* $field:ident,)*
    }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct $name {
            $($(#[$field_doc])* pub $field: u64,)*
        }

        impl $name {
            /// Each field's name and value.
            pub fn fields(&self) -> impl Iterator<Item = (&'static str, u64)> {
                [$((stringify!($field), self.$field),)*].into_iter()
            }

            /// Sets a field by its name; false if there is none.
            pub fn set(&mut self, name: &str, value: u64) -> bool {
                match name {
                    $(stringify!($field) => self.$field = value,)*
                    _ => return false,
                }
                true
            }
        }
    };
}

pub(crate) use {worded_enum, worded_struct};
