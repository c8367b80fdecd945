//! Values of any type behind a trait object: compared, hashed and cloned.

use alloc::boxed::Box;
use core::any::Any;
use core::fmt;
use core::hash::{Hash, Hasher};

/// A value of some type that is plain, comparable data.
pub(crate) trait Value: fmt::Debug + Send + Sync {
    /// The value, to find its type.
    fn as_any(&self) -> &dyn Any;
    /// Whether `other` has the same type and value.
    fn is_equal(&self, other: &dyn Any) -> bool;
    /// Feeds type and value to `state`.
    fn hash_into(&self, state: &mut dyn Hasher);
    /// A copy.
    fn clone_boxed(&self) -> Box<dyn Value>;
}

impl<T: Any + Clone + fmt::Debug + Eq + Hash + Send + Sync> Value for T {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn is_equal(&self, other: &dyn Any) -> bool {
        other.downcast_ref::<T>() == Some(self)
    }

    fn hash_into(&self, mut state: &mut dyn Hasher) {
        self.type_id().hash(&mut state);
        self.hash(&mut state);
    }

    fn clone_boxed(&self) -> Box<dyn Value> {
        Box::new(self.clone())
    }
}

/// Feeds `value` to a hasher of any type.
pub(crate) fn hash(value: &dyn Value, state: &mut impl Hasher) {
    value.hash_into(state);
}
