use batchnorm::BatchNorm;
use batchnorm::ndarray::mean_var_axis;
use ndarray::{Array2, Array4, Axis, s};

fn main() -> batchnorm::Result<()> {
    let table = Array2::from_shape_fn((1000, 8), |(row, column)| (row * column) as f32);
    let (mean, var) = mean_var_axis(&table, Axis(0), 1.0)?; // was mean_axis(Axis(0)), var_axis(Axis(0), 1.0)
    assert_eq!((mean[1], var[1]), (499.5, 1000.0 * 1001.0 / 12.0));

    let norm = BatchNorm::new(3).to_inference();
    let mut images = Array4::<f32>::ones((8, 3, 64, 64));
    let y = norm.forward_array(&images, Axis(1))?;
    norm.forward_array_in_place(&mut images.slice_mut(s![.., .., 8..40, 8..40]), Axis(1))?; // any view
    assert_eq!(y[[0, 0, 9, 9]], images[[0, 0, 9, 9]]);
    let by_its_own_statistics = BatchNorm::new(3).forward_train_array(&images, Axis(1))?;
    assert!(by_its_own_statistics.sum().abs() < 1e-2);
    Ok(())
}
