//! From a table of methods to their types, and from the types to one enumeration.

use bytes::{BufMut, BytesMut};

use super::{
    MethodId,
    fields::{FieldWriter, Malformed, Reader},
};
use crate::broker::wire::{
    Payload,
    frame::{FRAME_END, FrameKind, HEAD_LEN, head},
    wire_len,
};

/// The interface of every method.
pub trait MethodSpec: Sized {
    /// Its number.
    const ID: MethodId;
    /// Its name as the specification writes it, `basic.publish`.
    const NAME: &'static str;

    /// Appends it as a complete frame.
    fn put(&self, out: &mut BytesMut, channel: u16);
}

/// Reading and writing of arguments, which [`class!`] derives.
pub(super) trait MethodArguments: MethodSpec {
    fn read(from: &mut Reader<'_>) -> Result<Self, Malformed>;
    fn write(&self, to: &mut FieldWriter<'_>);
}

/// Appends a frame of `method`.
pub(super) fn put<M: MethodArguments>(method: &M, out: &mut BytesMut, channel: u16) {
    let start = out.len();
    let [c1, c0] = M::ID.class.to_be_bytes();
    let [m1, m0] = M::ID.method.to_be_bytes();
    let [kind, h1, h0, ..] = head(FrameKind::Method, channel, 0);
    out.put_slice(&[kind, h1, h0, 0, 0, 0, 0, c1, c0, m1, m0]);
    method.write(&mut FieldWriter::new(out));
    let size = wire_len(out.len() - start - HEAD_LEN);
    out[start + 3..start + HEAD_LEN].copy_from_slice(&size.to_be_bytes());
    out.put_u8(FRAME_END);
}

/// Reads arguments, all of them. As in RabbitMQ 3.10, short strings must be UTF-8, but for those of methods that carry a
/// content.
#[inline]
pub(super) fn read<M: MethodArguments>(arguments: Payload<'_>) -> Result<M, Malformed> {
    let carries_content = matches!(
        M::ID,
        MethodId::BASIC_PUBLISH
            | MethodId {
                class: 60,
                method: 50 | 60 | 71
            }
    );
    let mut reader = Reader::new(arguments, !carries_content);
    let method = M::read(&mut reader)?;
    reader.finish()?;
    Ok(method)
}

/// The methods of one class: `number Name "name" [reserved before] { fields } [reserved after]`.
macro_rules! class {
    ($class:literal $(
        $(#[$doc:meta])*
        $method:literal $name:ident $text:literal [$($before:ty),*] {
            $($(#[$field_doc:meta])* $field:ident: $kind:ty,)*
        } [$($after:ty),*]
    )+) => {$(
        $(#[$doc])*
        #[derive(Clone, Debug, Default, Eq, PartialEq)]
        pub struct $name {
            $($(#[$field_doc])* pub $field: $kind,)*
        }

        impl $crate::broker::wire::method::spec::MethodSpec for $name {
            const ID: $crate::broker::wire::MethodId =
                $crate::broker::wire::MethodId::new($class, $method);
            const NAME: &'static str = $text;

            fn put(&self, out: &mut bytes::BytesMut, channel: u16) {
                $crate::broker::wire::method::spec::put(self, out, channel);
            }
        }

        impl $crate::broker::wire::method::spec::MethodArguments for $name {
            #[inline]
            fn read(
                from: &mut $crate::broker::wire::method::fields::Reader<'_>,
            ) -> Result<Self, $crate::broker::wire::method::fields::Malformed> {
                $(let _reserved: $before = from.field()?;)*
                $(let $field = from.field()?;)*
                $(let _reserved: $after = from.field()?;)*
                let _ = from;
                Ok(Self { $($field),* })
            }

            #[inline]
            fn write(&self, to: &mut $crate::broker::wire::method::fields::FieldWriter<'_>) {
                $(to.field(&<$before>::default());)*
                $(to.field(&self.$field);)*
                $(to.field(&<$after>::default());)*
                let _ = to;
            }
        }
    )+};
}
pub(super) use class;

/// The enumeration of all methods.
macro_rules! methods {
    ($($variant:ident($method:ty),)+) => {
        /// Any method.
        #[derive(Clone, Debug, Eq, PartialEq)]
        pub enum Method {
            $(
                #[doc = concat!("[`", stringify!($method), "`]")]
                $variant($method),
            )+
        }

        impl Method {
            /// Its number.
            #[must_use]
            pub fn id(&self) -> MethodId {
                match self {
                    $(Self::$variant(_) => <$method as MethodSpec>::ID,)+
                }
            }

            /// Its name as the specification writes it, `basic.publish`.
            #[must_use]
            pub fn name(&self) -> &'static str {
                match self {
                    $(Self::$variant(_) => <$method as MethodSpec>::NAME,)+
                }
            }

            /// Appends it as a complete frame.
            pub fn put(&self, out: &mut BytesMut, channel: u16) {
                match self {
                    $(Self::$variant(method) => method.put(out, channel),)+
                }
            }

            #[inline]
            fn read(id: MethodId, arguments: Payload<'_>) -> Result<Self, WireError> {
                match id {
                    $(<$method as MethodSpec>::ID => match spec::read(arguments) {
                        Ok(method) => Ok(Self::$variant(method)),
                        Err(malformed) => Err(refused(id, arguments, malformed)),
                    },)+
                    _ => Err(unknown(id)),
                }
            }
        }

        impl MethodId {
            /// Every method there is.
            pub const ALL: &[Self] = &[$(<$method as MethodSpec>::ID,)+];

            /// The method's name as the specification writes it, when there is such a method.
            #[must_use]
            pub fn name(self) -> Option<&'static str> {
                match self {
                    $(<$method as MethodSpec>::ID => Some(<$method as MethodSpec>::NAME),)+
                    _ => None,
                }
            }
        }

        $(impl From<$method> for Method {
            fn from(method: $method) -> Self {
                Self::$variant(method)
            }
        })+
    };
}
pub(super) use methods;
