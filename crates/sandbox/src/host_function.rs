//! Functions of the host that a guest may call.

use std::fmt;
use std::time::Duration;

use sandbox_abi::{FunctionFlags, Shape, signature};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::encode;
use crate::error::{CallError, HostError};
use crate::function::Exports;

/// The guest that called a host function, for a call in the other direction.
pub struct HostCall<'a> {
    guest: &'a mut dyn Reenter,
}

impl fmt::Debug for HostCall<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HostCall").finish_non_exhaustive()
    }
}

/// A sandbox while it executes a host function.
pub(crate) trait Reenter {
    fn exports(&self) -> &Exports;

    /// Calls function `number` with encoded parameters. `result` receives the encoded result.
    fn reenter(&mut self, number: u32, parameters: &[u8], result: &mut Vec<u8>) -> Result<(), CallError>;

    /// Time until the deadline of the outer call.
    fn remaining(&self) -> Option<Duration>;
}

impl<'a> HostCall<'a> {
    pub(crate) fn new(guest: &'a mut dyn Reenter) -> Self {
        Self { guest }
    }

    /// Calls a function of the guest, which executes it on top of the call that it waits for.
    ///
    /// # Errors
    ///
    /// As [`Sandbox::call`](crate::Sandbox::call). If the guest cannot go on, the outer call fails too, whatever the host function returns.
    pub fn call<Args, Ret>(&mut self, name: &str, parameters: Args) -> Result<Ret, CallError>
    where
        Args: Serialize + Shape,
        Ret: DeserializeOwned + Shape,
    {
        let exports = self.guest.exports();
        let number = exports.resolve::<Args, Ret>(name)?.number(exports.image())?;
        let mut bytes = Vec::new();
        encode::to(&parameters, &mut bytes).map_err(CallError::Encode)?;
        let mut result = Vec::new();
        self.guest.reenter(number, &bytes, &mut result)?;
        encode::from(&result).map_err(CallError::Decode)
    }

    /// Calls a function of the guest that takes bytes.
    ///
    /// # Errors
    ///
    /// As [`call`](Self::call).
    pub fn call_bytes(
        &mut self,
        name: &str,
        parameter: &[u8],
        result: &mut Vec<u8>,
    ) -> Result<(), CallError> {
        let number = self.guest.exports().bytes(name)?;
        self.guest.reenter(number, parameter, result)
    }

    /// Time until the deadline of the outer call; none without a deadline. A host function is not interrupted when the deadline passes: the
    /// call ends when it returns.
    #[must_use]
    pub fn remaining(&self) -> Option<Duration> {
        self.guest.remaining()
    }
}

/// A host function over encoded parameters and results.
pub(crate) trait Handler: Send {
    /// Appends the result to `result`, which is empty.
    fn call(
        &mut self,
        call: &mut HostCall<'_>,
        parameters: &[u8],
        result: &mut Vec<u8>,
    ) -> Result<(), HostError>;
}

impl<F> Handler for F
where
    F: FnMut(&mut HostCall<'_>, &[u8], &mut Vec<u8>) -> Result<(), HostError> + Send,
{
    fn call(
        &mut self,
        call: &mut HostCall<'_>,
        parameters: &[u8],
        result: &mut Vec<u8>,
    ) -> Result<(), HostError> {
        self(call, parameters, result)
    }
}

/// A host function with its types.
pub(crate) struct Registered {
    pub(crate) name: String,
    pub(crate) signature: u64,
    pub(crate) flags: FunctionFlags,
    pub(crate) handler: Box<dyn Handler>,
}

impl fmt::Debug for Registered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registered")
            .field("name", &self.name)
            .field("signature", &self.signature)
            .finish_non_exhaustive()
    }
}

impl Registered {
    /// A function with typed parameters.
    pub(crate) fn typed<Args, Ret>(
        name: &str,
        mut function: impl FnMut(&mut HostCall<'_>, Args) -> Result<Ret, HostError> + Send + 'static,
    ) -> Self
    where
        Args: DeserializeOwned + Shape,
        Ret: Serialize + Shape,
    {
        let handler = move |call: &mut HostCall<'_>, parameters: &[u8], result: &mut Vec<u8>| {
            let parameters = encode::from(parameters)
                .map_err(|error| HostError::new(HostError::CODE, format!("bad parameters: {error}")))?;
            let value = function(call, parameters)?;
            encode::to(&value, result).map_err(|error| {
                HostError::new(HostError::CODE, format!("the result cannot be encoded: {error}"))
            })
        };
        Self {
            name: name.to_owned(),
            signature: signature::<Args, Ret>(),
            flags: FunctionFlags::TYPED,
            handler: Box::new(handler),
        }
    }

    /// A function with bytes.
    pub(crate) fn bytes(
        name: &str,
        function: impl FnMut(&mut HostCall<'_>, &[u8], &mut Vec<u8>) -> Result<(), HostError> + Send + 'static,
    ) -> Self {
        Self {
            name: name.to_owned(),
            signature: 0,
            flags: FunctionFlags::BYTES,
            handler: Box::new(function),
        }
    }
}

/// A closure of up to twelve parameters that can be registered as a host function. `Args` is the tuple of the parameters.
pub trait HostFunction<Args, Ret>: Send + 'static {
    /// Calls the closure.
    fn call(&mut self, parameters: Args) -> Ret;
}

macro_rules! closures {
    ($($first:ident $($rest:ident)*)?) => {
        impl<Function, Ret, $($first, $($rest),*)?> HostFunction<($($first, $($rest,)*)?), Ret> for Function
        where
            Function: FnMut($($first, $($rest),*)?) -> Ret + Send + 'static,
        {
            #[allow(non_snake_case, reason = "names of types are those of the values")]
            fn call(&mut self, ($($first, $($rest,)*)?): ($($first, $($rest,)*)?)) -> Ret {
                self($($first, $($rest),*)?)
            }
        }
        $(closures!($($rest)*);)?
    };
}

closures!(A B C D E F G H I J K L);
