//! E-mail: its content, and when it is sent again.

use std::time::Duration;

use afforo::delivery::{Email, EmailConfig, Encryption};

use super::{
    Worker, all_delivered, deliveries, email, email_config, error,
    http_receiver::HttpReceiver,
    orders,
    smtp_receiver::{Manner, SmtpReceiver},
    webhook,
};
use crate::support::{app::TestApp, program::eventually};

/// The unfolded headers of a message.
fn header(letter: &str, name: &str) -> String {
    let head = letter.split("\n\n").next().unwrap().replace("\n ", " ");
    let start = format!("{name}: ");
    let mut found = head.lines().filter_map(|line| line.strip_prefix(&start));
    let value = found
        .next()
        .unwrap_or_else(|| panic!("no {name} in\n{letter}"))
        .to_owned();
    assert_eq!(found.next(), None, "{name} is there twice");
    value
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_confirmed_order_is_sent_in_one_email() {
    let app = TestApp::start().await;
    let receiver = SmtpReceiver::start(vec![]).await;
    let worker = Worker::start(&app, Some(email(&receiver)), None);
    let order = orders(&app, 1).await[0];
    eventually("the confirmation is delivered", async || {
        all_delivered(&app.pool, 1).await
    })
    .await;
    worker.stop().await;
    let letters = receiver.letters();
    let [letter] = letters.as_slice() else {
        panic!("{letters:?}")
    };
    assert_eq!(header(letter, "From"), "Shop <shop@example.com>");
    assert_eq!(header(letter, "To"), "orders@example.com, Ann <ann@example.com>");
    assert_eq!(
        header(letter, "Subject"),
        format!("Order {order} confirmed: 3.00 at Main Store")
    );
    let id = header(letter, "Message-ID");
    assert!(id.starts_with("<msg_") && id.ends_with("@example.com>"), "{id}");
    assert!(header(letter, "Date").ends_with("+0000"));
    let (_, text) = letter.split_once("\n\n").unwrap();
    assert!(text.contains("2 x Lamp, 1.50 each: 3.00\n"), "{text}");
    assert!(text.contains("\nTotal: 3.00\n"), "{text}");
    let commands = receiver.commands();
    for command in [
        "MAIL FROM:<shop@example.com>",
        "RCPT TO:<orders@example.com>",
        "RCPT TO:<ann@example.com>",
    ] {
        assert!(
            commands.iter().any(|line| line.starts_with(command)),
            "{commands:?}"
        );
    }
    assert!(app.unbalanced().await.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn store_name_cannot_inject_headers_or_commands() {
    let app = TestApp::start().await;
    let receiver = SmtpReceiver::start(vec![]).await;
    orders(&app, 1).await;
    sqlx::query("update store set name = E'Café\\r\\nBcc: all@example.com\\r\\n\\r\\n.\\r\\nMAIL FROM:<x@example.com>'")
        .execute(&app.pool)
        .await
        .unwrap();
    let worker = Worker::start(&app, Some(email(&receiver)), None);
    eventually("the confirmation is delivered", async || {
        all_delivered(&app.pool, 1).await
    })
    .await;
    worker.stop().await;
    let letters = receiver.letters();
    let [letter] = letters.as_slice() else {
        panic!("{letters:?}")
    };
    let head = letter.split("\n\n").next().unwrap();
    assert!(head.lines().all(|line| !line.starts_with("Bcc")), "{head}");
    assert!(header(letter, "Subject").contains("=?utf-8?"), "{head}");
    assert_eq!(
        receiver
            .commands()
            .iter()
            .filter(|line| line.starts_with("MAIL"))
            .count(),
        1
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn temporary_rejection_is_retried_under_the_same_message_id() {
    let app = TestApp::start().await;
    let receiver = SmtpReceiver::start(vec![
        Manner::Text("451 come back"),
        Manner::DropAfterText,
        Manner::Hang,
    ])
    .await;
    let config = EmailConfig {
        timeout: Duration::from_millis(500),
        ..email_config(&receiver)
    };
    let worker = Worker::start(&app, Some(Email::new(&config).unwrap()), None);
    let order = orders(&app, 1).await[0];
    eventually("the confirmation is delivered", async || {
        all_delivered(&app.pool, 1).await
    })
    .await;
    worker.stop().await;
    let letters = receiver.letters();
    let ids: Vec<String> = letters
        .iter()
        .map(|letter| header(letter, "Message-ID"))
        .collect();
    assert_eq!(ids.len(), 3);
    assert!(ids.iter().all(|id| *id == ids[0]));
    assert_eq!(deliveries(&app.pool).await, [(order, 4, "delivered".to_owned())]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn accepted_email_is_not_sent_again_if_the_server_then_hangs() {
    let app = TestApp::start().await;
    let receiver = SmtpReceiver::start(vec![Manner::NoGoodbye]).await;
    let config = EmailConfig {
        timeout: Duration::from_millis(500),
        ..email_config(&receiver)
    };
    let worker = Worker::start(&app, Some(Email::new(&config).unwrap()), None);
    let order = orders(&app, 1).await[0];
    eventually("the delivery has ended", async || {
        deliveries(&app.pool).await == [(order, 1, "delivered".to_owned())]
    })
    .await;
    worker.stop().await;
    assert_eq!(receiver.letters().len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn permanent_rejection_makes_the_email_dead_at_once() {
    let app = TestApp::start().await;
    let receiver = SmtpReceiver::start(vec![Manner::Recipient("550 nobody of that name")]).await;
    let worker = Worker::start(&app, Some(email(&receiver)), None);
    let order = orders(&app, 1).await[0];
    eventually("the delivery is dead", async || {
        deliveries(&app.pool).await == [(order, 1, "dead".to_owned())]
    })
    .await;
    worker.stop().await;
    assert!(error(&app.pool).await.contains("nobody of that name"));
    assert_eq!(receiver.letters(), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn failed_smtp_login_is_retried() {
    let app = TestApp::start().await;
    let receiver = SmtpReceiver::start(vec![Manner::Login("535 who are you?")]).await;
    let config = EmailConfig {
        user: "shop".to_owned(),
        password: "hunter2".into(),
        ..email_config(&receiver)
    };
    let worker = Worker::start(&app, Some(Email::new(&config).unwrap()), None);
    let order = orders(&app, 1).await[0];
    eventually("the confirmation is delivered", async || {
        all_delivered(&app.pool, 1).await
    })
    .await;
    worker.stop().await;
    assert_eq!(deliveries(&app.pool).await, [(order, 2, "delivered".to_owned())]);
    // "\0shop\0hunter2"
    assert!(
        receiver
            .commands()
            .contains(&"AUTH PLAIN AHNob3AAaHVudGVyMg==".to_owned())
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hanging_mail_server_does_not_delay_webhooks() {
    let app = TestApp::start().await;
    let (mail, web) = (
        SmtpReceiver::start(vec![Manner::Hang; 20]).await,
        HttpReceiver::start(vec![]).await,
    );
    let worker = Worker::start(&app, Some(email(&mail)), Some(webhook(&web)));
    orders(&app, 20).await;
    eventually("all webhooks arrived", async || {
        let arrived = "select count(*) from delivery where channel = 'webhook' and delivered_at is not null";
        sqlx::query_scalar::<_, i64>(arrived)
            .fetch_one(&app.pool)
            .await
            .unwrap()
            == 20
    })
    .await;
    assert_eq!(web.requests().len(), 20);
    let waiting = "select count(*) from delivery where channel = 'email' and due_at is not null";
    assert_eq!(
        sqlx::query_scalar::<_, i64>(waiting)
            .fetch_one(&app.pool)
            .await
            .unwrap(),
        20
    );
    worker.task.abort();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn email_is_not_sent_without_required_starttls() {
    let app = TestApp::start().await;
    let receiver = SmtpReceiver::start(vec![]).await;
    let config = EmailConfig {
        encryption: Encryption::StartTls,
        user: "shop".to_owned(),
        password: "hunter2".into(),
        ..email_config(&receiver)
    };
    let worker = Worker::start(&app, Some(Email::new(&config).unwrap()), None);
    let order = orders(&app, 1).await[0];
    eventually("the delivery is dead", async || {
        matches!(deliveries(&app.pool).await.as_slice(), [(told, _, state)] if *told == order && state == "dead")
    })
    .await;
    worker.stop().await;
    let commands = receiver.commands();
    assert!(
        commands
            .iter()
            .all(|line| line.starts_with("EHLO") || line.starts_with("QUIT")),
        "{commands:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_have_the_product_titles_at_order() {
    let app = TestApp::start().await;
    let (smtp, http) = (
        SmtpReceiver::start(vec![]).await,
        HttpReceiver::start(vec![]).await,
    );
    orders(&app, 1).await;
    sqlx::query("update product set title = 'Light'")
        .execute(&app.pool)
        .await
        .unwrap();
    let worker = Worker::start(&app, Some(email(&smtp)), Some(webhook(&http)));
    eventually("both are delivered", async || all_delivered(&app.pool, 2).await).await;
    worker.stop().await;
    let letters = smtp.letters();
    assert!(letters[0].contains("2 x Lamp, 1.50 each: 3.00\n"), "{letters:?}");
    let item = &http.requests()[0].json()["data"]["items"][0];
    assert_eq!(
        (&item["product"]["title"], &item["title_at_order"]),
        (&"Light".into(), &"Lamp".into())
    );
}
