//! What becomes of a query, and of the processes, when some of them die.

mod common;

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use batchnorm_ballista::{connect, sample};
use common::cluster::Cluster;
use common::{SMALL, number, register, rows, start};
use datafusion::prelude::SessionContext;

/// So many copies of each row that the query runs for seconds, and its answer is known: `far` and `copy` are independent.
const COPIES: u32 = 512;
const FILES: u32 = 16;

/// Variance and count of `far + copy`, exact sums in f64.
fn slow_query() -> String {
    format!(
        "SELECT var_pop_accurate(far + copy) AS v, count(*) AS n \
         FROM (SELECT far, unnest(range(0, {COPIES})) AS copy FROM t)"
    )
}

fn expected_variance(rows: u64) -> f64 {
    let far = sample::truths(rows).iter().find(|truth| truth.column == "far").expect("a column").variance;
    far + (f64::from(COPIES).powi(2) - 1.0) / 12.0
}

/// A cluster and a table on it.
async fn cluster_and_table(folder: &Path) -> (Cluster, SessionContext, u64) {
    let rows = sample::write(folder, FILES, 65_536).expect("a table");
    let cluster = start(&SMALL).await;
    let context = connect(&cluster.address, FILES as usize).await.expect("a context");
    register(&context, folder).await;
    (cluster, context, rows)
}

/// Starts the slow query, and returns when the given executor has finished a part of it.
async fn in_mid_query(
    cluster: &Cluster,
    context: &SessionContext,
    executor: usize,
) -> tokio::task::JoinHandle<Result<(f64, f64), String>> {
    let context = context.clone();
    let query = tokio::spawn(async move {
        let frame = context.sql(&slow_query()).await.map_err(|error| error.to_string())?;
        let batches = frame.collect().await.map_err(|error| error.to_string())?;
        Ok((number(&batches[0], "v"), number(&batches[0], "n")))
    });
    let start = Instant::now();
    while cluster.executors[executor].shuffled().is_empty() {
        assert!(!query.is_finished(), "the query ended before executor {executor} had a part");
        assert!(start.elapsed() < Duration::from_secs(120), "executor {executor} had no part of the query");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    query
}

#[tokio::test(flavor = "multi_thread")]
async fn a_query_survives_the_loss_of_an_executor() {
    let folder = tempfile::tempdir().unwrap();
    let (mut cluster, context, rows) = cluster_and_table(folder.path()).await;
    let query = in_mid_query(&cluster, &context, 1).await;
    cluster.executors[1].kill();
    assert!(!query.is_finished(), "killed too late");

    let (variance, n) = tokio::time::timeout(Duration::from_secs(180), query)
        .await
        .expect("the query ends in time")
        .expect("no panic")
        .expect("the other executor does all the work");
    assert_eq!(n, (rows * u64::from(COPIES)) as f64, "no row is lost, and none counted twice");
    let relative = (variance / expected_variance(rows) - 1.0).abs();
    assert!(relative < 1e-15, "{variance}: {relative:e}");
    // The executor was really missed, and the work that it had done was done again.
    let log = cluster.scheduler.log();
    assert!(log.contains("heartbeat timed out"), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_query_fails_clearly_when_all_executors_are_lost() {
    let folder = tempfile::tempdir().unwrap();
    let (mut cluster, context, _) = cluster_and_table(folder.path()).await;
    let query = in_mid_query(&cluster, &context, 0).await;
    cluster.executors.iter_mut().for_each(|executor| executor.kill());
    assert!(!query.is_finished(), "killed too late");

    let message = tokio::time::timeout(Duration::from_secs(60), query)
        .await
        .expect("the query ends in time")
        .expect("no panic")
        .expect_err("nobody is left to answer");
    println!("{message}");
    assert!(message.contains("executor"), "{message}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_executor_can_leave_in_order() {
    let folder = tempfile::tempdir().unwrap();
    let (mut cluster, context, _) = cluster_and_table(folder.path()).await;
    assert!(cluster.executors[0].terminate(Duration::from_secs(60)).success());
    let answer = rows(&context, "SELECT var_pop_accurate(pair) AS v FROM t").await;
    assert_eq!(number(&answer, "v"), 1.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_scheduler_the_error_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let (mut cluster, context, _) = cluster_and_table(folder.path()).await;
    cluster.scheduler.kill();
    let query = context.sql("SELECT var_pop_accurate(pair) AS v FROM t").await.unwrap();
    let error = tokio::time::timeout(Duration::from_secs(60), query.collect()).await.expect("an error in time");
    let message = error.expect_err("nobody is there to answer").to_string();
    println!("{message}");
    assert!(message.contains("scheduler") || message.contains("onnect"), "{message}");
}

/// True if a process of that id runs; one that has ended and was not waited for does not.
fn runs(id: u32) -> bool {
    let output = Command::new("ps").args(["-o", "stat=", "-p", &id.to_string()]).output().expect("ps");
    let state = String::from_utf8_lossy(&output.stdout);
    !state.trim().is_empty() && !state.trim().starts_with('Z')
}

fn assert_gone(ids: &[u32], limit: Duration) {
    let start = Instant::now();
    while let Some(id) = ids.iter().find(|id| runs(**id)) {
        assert!(start.elapsed() < limit, "process {id} still runs");
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_process_is_left_behind_by_a_panic() {
    let panicked = tokio::spawn(async {
        let cluster = start(&SMALL).await;
        let ids = cluster.ids();
        assert!(ids.iter().all(|id| runs(*id)));
        std::panic::panic_any(ids);
    });
    let ids = panicked.await.unwrap_err().into_panic().downcast::<Vec<u32>>().expect("the ids");
    assert_eq!(ids.len(), 3);
    assert_gone(&ids, Duration::ZERO);
}

/// Holds a cluster until it is killed, and writes the ids of its processes to a file.
fn hold_a_cluster(file: &std::ffi::OsStr) {
    tokio::runtime::Runtime::new().expect("a runtime").block_on(async {
        let cluster = start(&SMALL).await;
        std::fs::write(file, format!("{:?}", cluster.ids())).expect("a file");
        tokio::time::sleep(Duration::from_secs(300)).await;
    });
}

/// The parent is this program again, which runs this test alone, and is told where to write.
#[test]
fn no_process_is_left_behind_when_the_parent_is_killed() {
    if let Some(file) = std::env::var_os("BATCHNORM_TEST_IDS") {
        return hold_a_cluster(&file);
    }
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("ids");
    let mut parent = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "no_process_is_left_behind_when_the_parent_is_killed"])
        .env("BATCHNORM_TEST_IDS", &file)
        .env("TMPDIR", folder.path()) // nobody is left to delete what the cluster leaves there
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let start = Instant::now();
    let ids: Vec<u32> = loop {
        let text = std::fs::read_to_string(&file).unwrap_or_default();
        if let Some(list) = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')) {
            break list.split(", ").map(|id| id.parse().unwrap()).collect();
        }
        let ended = parent.try_wait().unwrap();
        assert!(ended.is_none() && start.elapsed() < Duration::from_secs(90), "no cluster: {ended:?}");
        std::thread::sleep(Duration::from_millis(50));
    };
    assert_eq!(ids.len(), 3);
    assert!(ids.iter().all(|id| runs(*id)));
    parent.kill().unwrap();
    parent.wait().unwrap();
    assert_gone(&ids, Duration::from_secs(20));
}
