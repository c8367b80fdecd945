//! Functions of a guest.

use std::fmt;
use std::marker::PhantomData;

use sandbox_abi::{FunctionFlags, Shape, signature};

use crate::error::ResolveError;

/// A function in the tables of a guest.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct FunctionInfo {
    /// Name.
    pub name: String,
    /// Hash of the types of parameters and result: [`sandbox_abi::signature`]; 0 for a function that takes bytes.
    pub signature: u64,
    /// How the function takes its parameters.
    pub flags: FunctionFlags,
}

impl FunctionInfo {
    /// A function in the tables of a guest.
    #[must_use]
    pub fn new(name: impl Into<String>, signature: u64, flags: FunctionFlags) -> Self {
        let name = name.into();
        Self {
            name,
            signature,
            flags,
        }
    }

    /// Whether parameter and result are bytes without a format.
    #[must_use]
    pub fn takes_bytes(&self) -> bool {
        self.flags.bits() & FunctionFlags::BYTES.bits() != 0
    }
}

/// A function of a guest whose types were checked: `Args` is the tuple of its parameters. Resolved by
/// [`Sandbox::function`](crate::Sandbox::function), and valid for all sandboxes of the same image, clones among them.
pub struct Function<Args, Ret> {
    number: u32,
    image: u64,
    types: PhantomData<fn(Args) -> Ret>,
}

impl<Args, Ret> Function<Args, Ret> {
    /// The number of the function, if the handle is for `image`.
    #[inline]
    pub(crate) fn number(&self, image: u64) -> Result<u32, ResolveError> {
        if self.image == image {
            Ok(self.number)
        } else {
            Err(ResolveError::OtherImage)
        }
    }
}

impl<Args, Ret> Clone for Function<Args, Ret> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<Args, Ret> Copy for Function<Args, Ret> {}

impl<Args, Ret> fmt::Debug for Function<Args, Ret> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Function")
            .field("number", &self.number)
            .finish_non_exhaustive()
    }
}

/// The functions that a guest offers.
#[derive(Clone, Debug)]
pub(crate) struct Exports {
    functions: Vec<FunctionInfo>,
    /// Numbers of the functions, sorted by name.
    by_name: Vec<u32>,
    /// Number of the image in this process.
    image: u64,
}

impl Exports {
    /// The functions in the order of their numbers.
    pub(crate) fn new(image: u64, functions: Vec<FunctionInfo>) -> Self {
        let mut by_name: Vec<u32> = (0..).take(functions.len()).collect();
        by_name.sort_by_key(|&number| functions.get(to_index(number)).map(|function| &function.name));
        Self {
            functions,
            by_name,
            image,
        }
    }

    pub(crate) fn image(&self) -> u64 {
        self.image
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &FunctionInfo> {
        self.functions.iter()
    }

    /// The number of the function `name`, and the function.
    fn find(&self, name: &str) -> Result<(u32, &FunctionInfo), ResolveError> {
        let function = |&number: &u32| self.functions.get(to_index(number));
        let found = self
            .by_name
            .binary_search_by(|number| function(number).map_or("", |function| &function.name).cmp(name));
        let number = found.ok().and_then(|at| self.by_name.get(at));
        let found = number.and_then(|number| Some((*number, function(number)?)));
        found.ok_or_else(|| ResolveError::NotFound {
            name: name.to_owned(),
        })
    }

    /// The number of a function of any types.
    pub(crate) fn typed(&self, name: &str) -> Result<u32, ResolveError> {
        let (number, function) = self.find(name)?;
        if function.takes_bytes() {
            let name = name.to_owned();
            return Err(ResolveError::TakesBytes { name });
        }
        Ok(number)
    }

    /// The number of a function that takes bytes.
    pub(crate) fn bytes(&self, name: &str) -> Result<u32, ResolveError> {
        let (number, function) = self.find(name)?;
        if !function.takes_bytes() {
            let name = name.to_owned();
            return Err(ResolveError::TakesTypes { name });
        }
        Ok(number)
    }

    /// The function `name` with these types.
    pub(crate) fn resolve<Args: Shape, Ret: Shape>(
        &self,
        name: &str,
    ) -> Result<Function<Args, Ret>, ResolveError> {
        let number = self.typed(name)?;
        let expected = const { signature::<Args, Ret>() };
        let found = self
            .functions
            .get(to_index(number))
            .map_or(0, |function| function.signature);
        if found != expected {
            return Err(ResolveError::Signature {
                name: name.to_owned(),
                expected,
                found,
            });
        }
        Ok(Function {
            number,
            image: self.image,
            types: PhantomData,
        })
    }
}

/// A number of a function as an index. Numbers that do not fit are past the end of every table.
pub(crate) fn to_index(number: u32) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exports() -> Exports {
        let typed = |name, signature| FunctionInfo::new(name, signature, FunctionFlags::TYPED);
        Exports::new(
            7,
            vec![
                typed("subtract", signature::<(u32, u32), u32>()),
                FunctionInfo::new("raw", 0, FunctionFlags::BYTES),
                typed("add", signature::<(u32, u32), u64>()),
            ],
        )
    }

    #[test]
    fn functions_are_found_by_name_and_types() {
        let exports = exports();
        let add = exports.resolve::<(u32, u32), u64>("add").unwrap();
        assert_eq!(add.number(7), Ok(2));
        assert_eq!(add.number(8), Err(ResolveError::OtherImage));
        assert_eq!(exports.typed("subtract"), Ok(0));
        assert_eq!(exports.bytes("raw"), Ok(1));
        let name = |name: &str| name.to_owned();
        assert_eq!(
            exports.resolve::<(u32, u32), u32>("add").unwrap_err(),
            ResolveError::Signature {
                name: name("add"),
                expected: signature::<(u32, u32), u32>(),
                found: signature::<(u32, u32), u64>()
            }
        );
        assert_eq!(
            exports.typed("raw"),
            Err(ResolveError::TakesBytes { name: name("raw") })
        );
        assert_eq!(
            exports.bytes("add"),
            Err(ResolveError::TakesTypes { name: name("add") })
        );
        for missing in ["", "ad", "addd", "zzz"] {
            assert_eq!(
                exports.typed(missing),
                Err(ResolveError::NotFound { name: name(missing) })
            );
        }
    }
}
