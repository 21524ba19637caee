//! `tracing` where the feature is on, nothing where it is off. Nouns an operator asks about; data-plane loops log nothing.

macro_rules! event {
    ($level:ident, $($field:ident = $value:expr,)* $message:literal) => {{
        #[cfg(feature = "tracing")]
        tracing::$level!(target: "fchannel", $($field = $value,)* $message);
        #[cfg(not(feature = "tracing"))]
        {
            $(let _unused = &$value;)*
        }
    }};
}

macro_rules! debug { ($($rest:tt)*) => { $crate::trace::event!(debug, $($rest)*) }; }
macro_rules! error { ($($rest:tt)*) => { $crate::trace::event!(error, $($rest)*) }; }
macro_rules! warning { ($($rest:tt)*) => { $crate::trace::event!(warn, $($rest)*) }; }

pub(crate) use {debug, error, event, warning};
