//! The methods that both types of streams have.

/// Implements them. `$new` is the code that creates a stream of two features in the examples.
macro_rules! stream_methods {
    ($stream:ident, $uses:literal, $new:literal) => {
        impl $stream {
            /// Sets the path (default: [`Path::Auto`](crate::Path::Auto)). All paths give bit-identical results; only
            /// speed differs. Threads share the features, each through all rows of a call.
            ///
            /// ```
            #[doc = $uses]
            /// use batchnorm::{Isa, Path};
            ///
            #[doc = concat!("let stream = ", $new, ".with_path(Path::Simd(Isa::detect())); // never on other threads")]
            /// assert_eq!(stream.path(), Path::Simd(Isa::detect()));
            /// # Ok::<(), batchnorm::Error>(())
            /// ```
            pub fn with_path(mut self, path: Path) -> Self {
                self.state.set_path(path);
                self
            }

            /// Returns the path.
            ///
            /// ```
            #[doc = $uses]
            #[doc = concat!("assert_eq!(", $new, ".path(), batchnorm::Path::Auto);")]
            /// # Ok::<(), batchnorm::Error>(())
            /// ```
            pub fn path(&self) -> Path {
                self.state.path
            }

            /// Returns the number of features.
            ///
            /// ```
            #[doc = $uses]
            #[doc = concat!("assert_eq!(", $new, ".num_features(), 2);")]
            /// # Ok::<(), batchnorm::Error>(())
            /// ```
            pub fn num_features(&self) -> usize {
                self.state.features
            }

            /// Returns the number of rows so far.
            ///
            /// ```
            #[doc = $uses]
            #[doc = concat!("let mut stream = ", $new, ";")]
            /// stream.push(&[1.0f32, 10.0])?;
            /// assert_eq!(stream.count(), 1);
            /// # Ok::<(), batchnorm::Error>(())
            /// ```
            pub fn count(&self) -> u64 {
                self.state.weights.count()
            }

            /// Adds a row: one value per feature. Allocates nothing, unless it starts other threads.
            ///
            /// # Errors
            /// [`Error::Features`](crate::Error::Features) if the row does not have one value per feature; a failed
            /// call leaves everything unchanged.
            ///
            /// ```
            #[doc = $uses]
            #[doc = concat!("let mut stream = ", $new, ";")]
            /// stream.push(&[1.0f32, 10.0])?;
            /// stream.push(&[1.0f64, 10.0])?;
            /// assert_eq!((stream.mean(0), stream.mean(1)), (1.0, 10.0));
            /// assert!(stream.push(&[1.0]).is_err());
            /// # Ok::<(), batchnorm::Error>(())
            /// ```
            #[inline]
            pub fn push<T: Element>(&mut self, row: &[T]) -> Result<()> {
                self.state.push(row)
            }

            /// Adds the rows of a batch of layout [`Layout::nc`](crate::Layout::nc). The result is bit-identical to
            /// pushing them one by one, or in any other split, but takes less time.
            ///
            /// # Errors
            /// [`Error::Features`](crate::Error::Features) if the batch has a different number of features,
            /// [`Error::LayoutMismatch`](crate::Error::LayoutMismatch) if its `inner` is not 1; a failed call leaves
            /// everything unchanged.
            ///
            /// ```
            #[doc = $uses]
            /// use batchnorm::{Batch, Layout};
            ///
            #[doc = concat!("let (mut at_once, mut by_row) = (", $new, ", ", $new, ");")]
            /// let data = [1.0f32, 10.0, 2.0, 10.0, 6.0, 10.0];
            /// at_once.push_rows(Batch::new(&data, Layout::nc(3, 2))?)?;
            /// for row in data.chunks(2) {
            ///     by_row.push(row)?;
            /// }
            /// assert_eq!(at_once, by_row);
            /// # Ok::<(), batchnorm::Error>(())
            /// ```
            pub fn push_rows<T: Element>(&mut self, x: Batch<'_, T>) -> Result<()> {
                self.state.push_rows(x)
            }

            /// Returns the mean of a feature so far. It is NaN if there are no rows, if a value was NaN, or if there
            /// were infinities of both signs; it is infinite if there were infinities of one sign only, or if values
            /// are so far apart that their difference overflows.
            ///
            /// # Panics
            /// If `feature >= num_features()`.
            ///
            /// ```
            #[doc = $uses]
            #[doc = concat!("let mut stream = ", $new, ";")]
            /// assert!(stream.mean(0).is_nan());
            /// stream.push(&[3.0, f64::NAN])?;
            /// assert!(stream.mean(0) == 3.0 && stream.mean(1).is_nan());
            /// # Ok::<(), batchnorm::Error>(())
            /// ```
            pub fn mean(&self, feature: usize) -> f64 {
                self.state.mean(feature)
            }

            /// Returns the standard deviation of a feature so far: the square root of the variance.
            ///
            /// # Panics
            /// If `feature >= num_features()`.
            ///
            /// ```
            #[doc = $uses]
            #[doc = concat!("let mut stream = ", $new, ";")]
            /// stream.push(&[1.0, 10.0])?;
            /// stream.push(&[1.0, 10.0])?;
            /// assert_eq!(stream.std_dev(0, 0.0), 0.0);
            /// # Ok::<(), batchnorm::Error>(())
            /// ```
            pub fn std_dev(&self, feature: usize, ddof: f64) -> f64 {
                $crate::math::sqrt(self.variance(feature, ddof))
            }

            /// Writes the mean of every feature to `out`, rounded to its element type.
            ///
            /// # Errors
            /// [`Error::Features`](crate::Error::Features) if `out` does not have one element per feature.
            ///
            /// ```
            #[doc = $uses]
            #[doc = concat!("let mut stream = ", $new, ";")]
            /// stream.push(&[1.0, 10.0])?;
            /// let mut means = [0.0f32; 2];
            /// stream.means_into(&mut means)?;
            /// assert_eq!(means, [1.0, 10.0]);
            /// # Ok::<(), batchnorm::Error>(())
            /// ```
            pub fn means_into<T: Element>(&self, out: &mut [T]) -> Result<()> {
                self.state.write(out, |feature| self.mean(feature))
            }

            /// Writes the variance of every feature to `out`, rounded to its element type.
            ///
            /// # Errors
            /// [`Error::Features`](crate::Error::Features) if `out` does not have one element per feature.
            ///
            /// ```
            #[doc = $uses]
            #[doc = concat!("let mut stream = ", $new, ";")]
            /// stream.push(&[1.0, 10.0])?;
            /// let mut variances = [1.0; 2];
            /// stream.variances_into(0.0, &mut variances)?;
            /// assert_eq!(variances, [0.0, 0.0]);
            /// # Ok::<(), batchnorm::Error>(())
            /// ```
            pub fn variances_into<T: Element>(&self, ddof: f64, out: &mut [T]) -> Result<()> {
                self.state.write(out, |feature| self.variance(feature, ddof))
            }

            /// Writes the standard deviation of every feature to `out`, rounded to its element type.
            ///
            /// # Errors
            /// [`Error::Features`](crate::Error::Features) if `out` does not have one element per feature.
            ///
            /// ```
            #[doc = $uses]
            #[doc = concat!("let mut stream = ", $new, ";")]
            /// stream.push(&[1.0, 10.0])?;
            /// let mut std_devs = [1.0; 2];
            /// stream.std_devs_into(0.0, &mut std_devs)?;
            /// assert_eq!(std_devs, [0.0, 0.0]);
            /// # Ok::<(), batchnorm::Error>(())
            /// ```
            pub fn std_devs_into<T: Element>(&self, ddof: f64, out: &mut [T]) -> Result<()> {
                self.state.write(out, |feature| self.std_dev(feature, ddof))
            }

            /// Normalises a row by the current statistics, which do not change (frozen):
            /// `out = (row - mean) / sqrt(variance + eps)`, in f64, rounded to the element type once. Runs on the
            /// calling thread and allocates nothing.
            ///
            /// # Errors
            /// [`Error::Features`](crate::Error::Features) if `row` or `out` does not have one value per feature.
            ///
            /// ```
            #[doc = $uses]
            /// use batchnorm::Standardize;
            ///
            #[doc = concat!("let mut stream = ", $new, ";")]
            /// stream.push(&[1.0, 10.0])?;
            /// stream.push(&[1.0, 10.0])?;
            /// let mut y = [9.0f32; 2];
            /// stream.normalize_into(&[1.0, 10.0], &mut y, &Standardize::new())?;
            /// assert_eq!(y, [0.0, 0.0]);
            /// # Ok::<(), batchnorm::Error>(())
            /// ```
            pub fn normalize_into<T: Element>(&self, row: &[T], out: &mut [T], options: &Standardize) -> Result<()> {
                self.state.normalize(row, out, options)
            }

            /// Normalises rows as [`normalize_into`](Self::normalize_into) does, by the current statistics.
            ///
            /// # Errors
            /// [`Error::Features`](crate::Error::Features) if `x` has a different number of features,
            /// [`Error::LayoutMismatch`](crate::Error::LayoutMismatch) if its `inner` is not 1 or `y` has another
            /// layout.
            ///
            /// ```
            #[doc = $uses]
            /// use batchnorm::{Batch, BatchMut, Layout, Standardize};
            ///
            #[doc = concat!("let mut stream = ", $new, ";")]
            /// let x = Batch::new(&[1.0, 10.0, 1.0, 10.0], Layout::nc(2, 2))?;
            /// stream.push_rows(x)?;
            /// let mut y = [9.0; 4];
            /// stream.normalize_rows_into(x, BatchMut::new(&mut y, x.layout())?, &Standardize::new())?;
            /// assert_eq!(y, [0.0; 4]);
            /// # Ok::<(), batchnorm::Error>(())
            /// ```
            pub fn normalize_rows_into<T: Element>(
                &self,
                x: Batch<'_, T>,
                y: BatchMut<'_, T>,
                options: &Standardize,
            ) -> Result<()> {
                self.state.normalize_rows(x, y, options)
            }

            /// Adds a row, then normalises it by the statistics that include it (moving).
            ///
            /// # Errors
            /// [`Error::Features`](crate::Error::Features) if `row` or `out` does not have one value per feature; a
            /// failed call leaves everything unchanged.
            ///
            /// ```
            #[doc = $uses]
            /// use batchnorm::Standardize;
            ///
            #[doc = concat!("let mut stream = ", $new, ";")]
            /// let mut y = [9.0; 2];
            /// stream.push_and_normalize(&[1.0, 10.0], &mut y, &Standardize::new())?;
            /// assert_eq!(y, [0.0, 0.0]);
            /// # Ok::<(), batchnorm::Error>(())
            /// ```
            pub fn push_and_normalize<T: Element>(
                &mut self,
                row: &[T],
                out: &mut [T],
                options: &Standardize,
            ) -> Result<()> {
                self.state.check("the output has", out.len())?;
                self.state.push(row)?;
                self.state.normalize(row, out, options)
            }

            /// Forgets all rows. Keeps the memory and the path.
            ///
            /// ```
            #[doc = $uses]
            #[doc = concat!("let mut stream = ", $new, ";")]
            /// stream.push(&[1.0, f64::NAN])?;
            /// stream.reset();
            #[doc = concat!("assert_eq!(stream, ", $new, ");")]
            /// # Ok::<(), batchnorm::Error>(())
            /// ```
            pub fn reset(&mut self) {
                self.state.reset();
            }
        }

        /// Prints the first features only, because there may be many.
        impl fmt::Debug for $stream {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let shown = 0..self.num_features().min(4);
                let means: [f64; 4] = core::array::from_fn(|i| if i < shown.end { self.mean(i) } else { 0.0 });
                let variances: [f64; 4] =
                    core::array::from_fn(|i| if i < shown.end { self.variance(i, 0.0) } else { 0.0 });
                f.debug_struct(stringify!($stream))
                    .field("num_features", &self.num_features())
                    .field("count", &self.count())
                    .field("means", &&means[shown.clone()])
                    .field("variances", &&variances[shown])
                    .field("path", &self.path())
                    .finish_non_exhaustive()
            }
        }
    };
}

pub(super) use stream_methods;
