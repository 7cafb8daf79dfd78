//! The decisions that the AuthZEN working group published for its Todo application, at Cerbos.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::task::JoinSet;
use url::Url;

use super::super::authzen::AuthZen;
use super::http;

#[tokio::test]
async fn the_published_decisions_come_through_one_by_one_and_several_at_once() {
    let Some(cerbos) = Cerbos::start().await else {
        return;
    };
    let published: Value = serde_json::from_str(include_str!("todo/decisions.json")).unwrap();
    let point = AuthZen::new(http(), cerbos.base.clone());
    let single = published["evaluation"].as_array().unwrap();
    assert_eq!(single.len(), 40);

    for case in single {
        assert_eq!(
            permits(&point, case["request"].clone()).await,
            case["expected"],
            "{case}"
        );
    }

    let mut asked = 0;
    for case in published["evaluations"].as_array().unwrap() {
        let expected = case["expected"].as_array().unwrap();
        let mut answers = Vec::new();
        let questions = case["request"]["evaluations"].as_array().unwrap();
        for item in questions {
            let mut question = case["request"].clone();
            question.as_object_mut().unwrap().remove("evaluations");
            for (member, value) in item.as_object().unwrap() {
                question[member] = value.clone();
            }
            answers.push(permits(&point, question));
        }
        // All of them wait in the same moment.
        for (answer, expected) in join(answers).await.into_iter().zip(expected) {
            assert_eq!(answer, expected["decision"], "{case}");
            asked += 1;
        }
    }
    assert_eq!(asked, 6);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_published_decisions_come_through_all_at_once() {
    let Some(cerbos) = Cerbos::start().await else {
        return;
    };
    let published: Value = serde_json::from_str(include_str!("todo/decisions.json")).unwrap();
    let point = std::sync::Arc::new(AuthZen::new(http(), cerbos.base.clone()));
    let mut questions = JoinSet::new();

    for case in published["evaluation"].as_array().unwrap().clone() {
        let point = std::sync::Arc::clone(&point);
        questions.spawn(async move {
            let answer = permits(&point, case["request"].clone()).await;
            assert_eq!(answer, case["expected"], "{case}");
        });
    }

    while let Some(question) = questions.join_next().await {
        question.unwrap();
    }
}

async fn permits(point: &AuthZen, question: Value) -> Value {
    let decision = point.evaluate(question).await.unwrap();
    json!(decision.outcome.is_ok())
}

/// Polls all of them until all are done.
async fn join<F: Future>(futures: Vec<F>) -> Vec<F::Output> {
    let mut futures: Vec<_> = futures.into_iter().map(Box::pin).collect();
    let mut outputs: Vec<_> = futures.iter().map(|_| None).collect();
    std::future::poll_fn(|context| {
        for (future, output) in futures.iter_mut().zip(&mut outputs) {
            if output.is_none()
                && let std::task::Poll::Ready(done) = future.as_mut().poll(context)
            {
                *output = Some(done);
            }
        }
        match outputs.iter().all(Option::is_some) {
            true => std::task::Poll::Ready(()),
            false => std::task::Poll::Pending,
        }
    })
    .await;
    outputs.into_iter().flatten().collect()
}

/// Cerbos with the policies of the end-to-end tests, if it is installed.
struct Cerbos {
    process: Child,
    base: Url,
}

impl Cerbos {
    #[expect(
        clippy::print_stderr,
        reason = "what was not checked is told to whoever runs the tests"
    )]
    async fn start() -> Option<Self> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let peers = std::env::var_os("ZTNA_E2E_PEERS")
            .map_or_else(|| root.join("target/peers"), PathBuf::from);
        let program = peers.join("bin/cerbos");
        if !program.exists() {
            let is_required = std::env::var_os("ZTNA_TEST_WORLDS").is_some();
            assert!(!is_required, "{} is not installed", program.display());
            eprintln!(
                "NOT CHECKED: {} is not installed; run tests/e2e/peers/install.sh",
                program.display()
            );
            return None;
        }
        let (port, grpc) = (free_port(), free_port());
        let process = Command::new(program)
            .args(["server", "--config=config.yaml", "--debug-listen-addr="])
            .arg(format!("--set=server.httpListenAddr=127.0.0.1:{port}"))
            .arg(format!("--set=server.grpcListenAddr=127.0.0.1:{grpc}"))
            .current_dir(root.join("tests/e2e/peers/cerbos"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let base: Url = format!("http://127.0.0.1:{port}").parse().unwrap();
        let cerbos = Self { process, base };
        let client = http();
        let health = cerbos.base.join("_cerbos/health").unwrap();
        let begun = Instant::now();
        while !client
            .client()
            .get(health.clone())
            .send()
            .await
            .is_ok_and(|it| it.status() == 200)
        {
            assert!(
                begun.elapsed() < Duration::from_secs(60),
                "Cerbos does not serve"
            );
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Some(cerbos)
    }
}

impl Drop for Cerbos {
    fn drop(&mut self) {
        let _ended = self.process.kill();
        let _reaped = self.process.wait();
    }
}

fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}
