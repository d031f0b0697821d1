//! The email node: handles sign-ups, and writes one line for each welcome.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::TOPIC;
use super::arguments::DemoNode;
use super::lines::Appender;
use super::orders;
use crate::bus::{Bus, Envelope, HandlerError};
use crate::cli::exit::{Exit, Failure};
use crate::cli::runtime::block_on;

/// How long the rest may take to be handled at the end.
const DRAIN: Duration = Duration::from_secs(600);

/// What the handler reads of a sign-up.
#[derive(Debug, Deserialize)]
struct SignUp {
    number: u64,
    #[serde(default)]
    name: String,
    #[serde(default)]
    email: String,
}

/// One line of the file: one call of the handler.
#[derive(Debug, Serialize, Deserialize)]
pub struct Welcome {
    pub number: u64,
    pub id: String,
    to: String,
    text: String,
}

pub fn run(arguments: &DemoNode) -> Result<(), Failure> {
    block_on(async {
        let mut orders = orders::listen()?;
        let path = arguments.base.join("welcomes");
        let welcomes =
            Appender::open(&path).map_err(|error| Failure::io("go on with the welcomes", &error))?;
        let welcomes = Arc::new(welcomes);
        let handler = move |message: Envelope| {
            let welcomes = Arc::clone(&welcomes);
            async move { welcome(&message, &welcomes) }
        };
        let builder = Bus::builder(arguments.base.join("email")).bind(&arguments.bind).every(TOPIC, handler);
        let bus = builder.open().await?;
        let serving = tokio::spawn(bus.serve());
        let from = arguments.from.as_deref();
        let from = from.ok_or_else(|| Failure::new(Exit::Usage, "email needs the address of web"))?;
        bus.subscribe(from, TOPIC).await?;
        orders::wait_for(&mut orders, |orders| orders.finish).await;
        bus.drain(DRAIN).await?;
        bus.close().await?;
        let served = serving.await.map_err(|error| Failure::io("handle sign-ups", &error.into()))?;
        Ok(served?)
    })
}

/// Writes the welcome of one sign-up. The message is handled when the line is in the kernel's hands.
fn welcome(message: &Envelope, welcomes: &Appender) -> Result<(), HandlerError> {
    let SignUp { number, name, email } = serde_json::from_slice(message.payload())?;
    let text = format!("Welcome, {name}!");
    let to = format!("{name} <{email}>");
    let mut line = serde_json::to_vec(&Welcome { number, id: message.id().to_string(), to, text })?;
    line.push(b'\n');
    Ok(welcomes.append(&line)?)
}
