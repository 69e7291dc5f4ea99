//! The README's table "PyTorch call by call": each call of this crate that it names is made here.

use std::collections::BTreeSet;

use batchnorm::{
    Activation, Batch, BatchMut, BatchNorm, GradOutput, GradientSums, Gradients, Layout, Moments, moments,
};

const X: [f32; 8] = [1.0, -2.0, 3.0, 5.0, 4.0, 0.5, -6.0, 8.0];
const DY: [f32; 8] = [0.5, 1.0, -1.0, 2.0, 0.25, -3.0, 1.5, 1.0];

type Outcome = batchnorm::Result<()>;

fn batch(data: &[f32]) -> Batch<'_, f32> {
    Batch::new(data, Layout::nc(data.len() / 2, 2)).expect("rows of two")
}

fn out(data: &mut [f32]) -> BatchMut<'_, f32> {
    let layout = Layout::nc(data.len() / 2, 2);
    BatchMut::new(data, layout).expect("rows of two")
}

#[test]
fn options_and_state() -> Outcome {
    for layout in [Layout::ncl(2, 2, 2), Layout::nchw(2, 2, 1, 2), Layout::ncdhw(2, 2, 1, 1, 2)] {
        BatchNorm::new(2).forward_train_in_place(BatchMut::new(&mut X.clone(), layout)?)?;
    }
    let mut bn = BatchNorm::new(2).with_eps(1e-5)?.with_momentum(0.1)?.with_cumulative_average();
    let mut y = X;
    bn.forward_train(batch(&X), out(&mut y))?;
    assert_eq!((bn.running_mean()[0], bn.num_batches_tracked()), (0.5, 1));

    let mut copy = BatchNorm::new(2);
    copy.set_weight(bn.weight().expect("a weight"))?;
    copy.set_bias(bn.bias().expect("a bias"))?;
    copy.set_running_mean(bn.running_mean())?;
    copy.set_running_var(bn.running_var())?;
    copy.set_num_batches_tracked(bn.num_batches_tracked());
    let (mut of_copy, mut frozen, mut in_place) = (X, X, X);
    bn.forward_eval(batch(&X), out(&mut y))?;
    copy.forward_eval(batch(&X), out(&mut of_copy))?;
    copy.to_inference().forward(batch(&X), out(&mut frozen))?;
    copy.to_inference().forward_in_place(out(&mut in_place))?;
    assert_eq!((of_copy, frozen, in_place), (y, y, y));

    bn.reset_running_stats();
    assert_eq!((bn.running_mean(), bn.running_var()), (&[0.0; 2][..], &[1.0; 2][..]));
    let (mut plain, mut trained) = (X, X);
    BatchNorm::new(2).without_affine().without_running_stats().forward_train(batch(&X), out(&mut plain))?;
    BatchNorm::new(2).forward_train(batch(&X), out(&mut trained))?;
    assert_eq!(plain, trained);
    Ok(())
}

#[test]
fn gradients_whole_and_in_parts() -> Outcome {
    let (mut bn, mut y, mut dx, mut only_dx) = (BatchNorm::new(2), X, X, X);
    bn.forward_train(batch(&X), out(&mut y))?;
    let gradients = bn.backward_train(bn.batch_moments(), batch(&X), batch(&DY), out(&mut dx))?;
    let (of_weight, of_bias) = (Gradients::weight(&gradients), Gradients::bias(&gradients));
    let sums = bn.backward_sums(bn.batch_moments(), batch(&X), batch(&DY))?;
    assert_eq!((bn.gradients(bn.batch_moments(), &sums)?.weight(), of_bias), (of_weight, &[1.25, 1.0][..]));

    let of_eval = bn.backward_eval(batch(&X), batch(&DY), out(&mut dx))?;
    bn.backward_eval_input(batch(&DY), out(&mut only_dx))?;
    assert_eq!(only_dx, dx);
    assert_eq!(bn.backward_eval_parameters(batch(&X), batch(&DY))?.weight(), of_eval.weight());
    Ok(())
}

#[test]
fn relu_and_residual() -> Outcome {
    let mut bn = BatchNorm::new(2).with_activation(Activation::Relu);
    let (mut plain, mut y, mut dx, mut expected) = (X, X, X, X);
    BatchNorm::new(2).forward_train(batch(&X), out(&mut plain))?;
    bn.forward_train(batch(&X), out(&mut y))?;
    assert_eq!(y, plain.map(|y| y.max(0.0)));
    let dy = GradOutput::through_relu(batch(&DY), batch(&y))?;
    bn.backward_train(bn.batch_moments(), batch(&X), dy, out(&mut dx))?;
    let masked: Vec<f32> = DY.iter().zip(&y).map(|(dy, y)| if *y > 0.0 { *dy } else { 0.0 }).collect();
    BatchNorm::new(2).backward_train(bn.batch_moments(), batch(&X), batch(&masked), out(&mut expected))?;
    assert_eq!(dx, expected);

    bn.forward_train_add(batch(&X), batch(&DY), out(&mut y))?;
    assert!(y.iter().zip(plain.iter().zip(&DY)).all(|(y, (plain, r))| *y == (plain + r).max(0.0)));
    bn.forward_eval_add(batch(&X), batch(&DY), out(&mut y))
}

#[test]
fn shards_train_as_one_batch() -> Outcome {
    let (mut bn, mut y, mut dx) = (BatchNorm::new(2), X, X);
    let shards = [0..2, 2..8];
    let mut all = Moments::new(2);
    for shard in shards.clone() {
        Moments::merge(&mut all, &bn.measure(batch(&X[shard]))?)?;
    }
    let mut sums = GradientSums::default();
    for (at, shard) in shards.clone().into_iter().enumerate() {
        let of_shard = bn.backward_sums(&all, batch(&X[shard.clone()]), batch(&DY[shard]))?;
        if at == 0 { sums = of_shard } else { GradientSums::merge(&mut sums, &of_shard)? }
    }
    for shard in shards {
        let (x, dy) = (batch(&X[shard.clone()]), batch(&DY[shard.clone()]));
        // Only the first shard moves the running statistics, as one batch does.
        match shard.start {
            0 => bn.forward_train_with(&all, x, out(&mut y[shard.clone()]))?,
            _ => bn.forward_with(&all, x, out(&mut y[shard.clone()]))?,
        }
        bn.backward_apply(&all, &sums, x, dy, out(&mut dx[shard]))?;
    }

    let (mut one, mut whole, mut whole_dx) = (BatchNorm::new(2), X, X);
    one.forward_train(batch(&X), out(&mut whole))?;
    one.backward_train(&moments(batch(&X)), batch(&X), batch(&DY), out(&mut whole_dx))?;
    let near = |a: [f32; 8], b: [f32; 8]| a.iter().zip(&b).all(|(a, b)| (a - b).abs() < 1e-6);
    assert!(near(y, whole) && near(dx, whole_dx), "{y:?} {whole:?} {dx:?} {whole_dx:?}");
    assert_eq!(bn.num_batches_tracked(), one.num_batches_tracked());
    let m = moments(batch(&X));
    assert_eq!((m.mean(0), m.variance(0, 1.0)), (0.5, 61.0 / 3.0));
    Ok(())
}

#[test]
fn folding() -> Outcome {
    let mut bn = BatchNorm::new(2).with_eps(0.0)?;
    bn.set_running_var(&[4.0, 0.25])?;
    let norm = bn.to_inference();
    let folded = ([1.0f32, 1.0, 4.0, 4.0], [0.5f32, 2.0]);
    let (mut w, mut b) = ([2.0f32; 4], [1.0f32; 2]);
    norm.fold_into_linear(&mut w, &mut b)?;
    assert_eq!((w, b), folded);
    (w, b) = ([2.0; 4], [1.0; 2]);
    norm.fold_into_conv(&mut w, &mut b)?;
    assert_eq!((w, b), folded);
    (w, b) = ([2.0; 4], [1.0; 2]);
    norm.fold_into_conv_transpose(&mut w, &mut b, 2, 1)?;
    assert_eq!((w, b), ([1.0, 4.0, 1.0, 4.0], folded.1));
    Ok(())
}

/// The names in the right column, without arguments.
fn names(readme: &str) -> BTreeSet<&str> {
    let table = readme.split("## PyTorch call by call").nth(1).expect("the table").split("\n## ").next();
    let rows = table.expect("a section").lines().filter(|line| line.starts_with("| `"));
    let right = rows.map(|row| row.split(" | ").nth(1).expect("two columns"));
    let code = right.flat_map(|cell| cell.split('`').skip(1).step_by(2));
    code.map(|code| code.split('(').next().expect("a name")).filter(|name| name.len() > 2).collect()
}

#[test]
fn this_file_makes_every_call_of_the_table() {
    let names = names(include_str!("../README.md"));
    assert!(names.len() > 40, "{names:?}");
    // What a feature brings is called where that is on.
    let source = concat!(include_str!("pytorch_calls.rs"), include_str!("interop/state.rs"));
    for name in names {
        let function = name.contains("::") || ["moments", "write"].contains(&name);
        let call = if function { format!("{name}(") } else { format!(".{name}(") };
        assert!(source.contains(&call), "the README names {name}, which is not called here");
    }
}
