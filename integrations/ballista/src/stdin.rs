//! The end of standard input, by which a parent process that dies takes its children with it.

use std::io::Read;

use tokio::sync::oneshot;

/// Waits until standard input ends; what it says is ignored.
///
/// A program that starts others gives them a pipe. The system closes it when the program ends, however it ends: that is
/// what the option `--stop-with-stdin` of `batchnorm-scheduler` and `batchnorm-executor` waits for.
///
/// ```
/// # let runtime = tokio::runtime::Runtime::new()?;
/// # runtime.block_on(async {
/// tokio::select! {
///     () = batchnorm_ballista::end_of_stdin() => println!("the parent is gone"),
///     () = tokio::time::sleep(std::time::Duration::from_millis(10)) => println!("the work is done"),
/// }
/// # });
/// # Ok::<(), std::io::Error>(())
/// ```
pub async fn end_of_stdin() {
    let (sender, end) = oneshot::channel();
    // A thread of its own: tokio's would keep the runtime from ending while it reads.
    std::thread::spawn(move || {
        let mut buffer = [0; 256];
        // An interrupted read is not the end, any other error is.
        loop {
            match std::io::stdin().read(&mut buffer) {
                Ok(0) => break,
                Err(error) if error.kind() != std::io::ErrorKind::Interrupted => break,
                _ => {}
            }
        }
        let _ = sender.send(()); // nobody waits any more: nothing to stop
    });
    let _ = end.await;
}
