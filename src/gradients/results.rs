//! The gradients of a layer's parameters.

use alloc::vec::Vec;
use core::fmt;

use super::GradientSums;
use crate::exec::InputGradients;
use crate::moments::Workspace;

/// The gradients of the loss with respect to a layer's weight and bias, in f64, one value per feature.
///
/// It also holds the memory in which a backward pass computes: the calls that end in `_into` overwrite one and, from the
/// second call on, allocate nothing.
///
/// ```
/// use batchnorm::{Batch, BatchMut, BatchNorm, Gradients, Layout, moments};
///
/// let (layout, mut dx) = (Layout::nc(4, 1), [0.0f64; 4]);
/// let (x, dy) = (Batch::new(&[0.0, 2.0, 0.0, 2.0], layout)?, Batch::new(&[1.0, 2.0, 3.0, 4.0], layout)?);
/// let bn = BatchNorm::new(1).with_eps(0.0)?;
/// let mut gradients = Gradients::default();
/// bn.backward_train_into(&moments(x), x, dy, BatchMut::new(&mut dx, layout)?, &mut gradients)?;
/// assert_eq!((gradients.weight(), gradients.bias()), (&[2.0][..], &[10.0][..]));
/// assert_eq!(dx, [-1.0, -1.0, 1.0, 1.0]);
/// # Ok::<(), batchnorm::Error>(())
/// ```
#[derive(Clone, Default)]
pub struct Gradients {
    pub(crate) weight: Vec<f64>,
    pub(crate) bias: Vec<f64>,
    /// Memory of the next call.
    pub(crate) scratch: Scratch,
}

/// What a backward pass computes on the way.
#[derive(Clone, Default)]
pub(crate) struct Scratch {
    pub(crate) sums: GradientSums,
    pub(crate) workspace: Workspace,
    /// `1 / sqrt(variance + eps)` of each feature.
    pub(crate) inverse_deviation: Vec<f64>,
    pub(crate) of_inputs: InputGradients,
}

impl Gradients {
    /// Returns the number of features.
    ///
    /// ```
    /// assert_eq!(batchnorm::Gradients::default().num_features(), 0);
    /// ```
    #[must_use]
    pub fn num_features(&self) -> usize {
        self.weight.len()
    }

    /// Returns the gradient with respect to the weight of each feature: `sum(dy * (x - mean)) / sqrt(variance + eps)`.
    /// (Also for a layer without a weight, as if it were 1.)
    ///
    /// ```
    /// # use batchnorm::{Batch, BatchNorm, Layout, moments};
    /// let x = Batch::new(&[0.0, 2.0], Layout::nc(2, 1))?;
    /// let (bn, m) = (BatchNorm::new(1).with_eps(0.0)?, moments(x));
    /// assert_eq!(bn.gradients(&m, &bn.backward_sums(&m, x, x)?)?.weight(), [2.0]);
    /// # Ok::<(), batchnorm::Error>(())
    /// ```
    #[must_use]
    pub fn weight(&self) -> &[f64] {
        &self.weight
    }

    /// Returns the gradient with respect to the bias of each feature: `sum(dy)`. (Also for a layer without a bias.)
    ///
    /// ```
    /// # use batchnorm::{Batch, BatchNorm, Layout, moments};
    /// let x = Batch::new(&[0.0, 2.0], Layout::nc(2, 1))?;
    /// let (bn, m) = (BatchNorm::new(1), moments(x));
    /// assert_eq!(bn.gradients(&m, &bn.backward_sums(&m, x, x)?)?.bias(), [2.0]);
    /// # Ok::<(), batchnorm::Error>(())
    /// ```
    #[must_use]
    pub fn bias(&self) -> &[f64] {
        &self.bias
    }
}

/// Prints the first features only, because there may be many.
impl fmt::Debug for Gradients {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SHOWN: usize = 4;
        let shown = SHOWN.min(self.num_features());
        f.debug_struct("Gradients")
            .field("num_features", &self.num_features())
            .field("weight", &&self.weight[..shown])
            .field("bias", &&self.bias[..shown])
            .finish_non_exhaustive()
    }
}
