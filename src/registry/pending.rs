//! The answer to a command: ready at once, or when the journal has committed it.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use tokio::sync::oneshot;

use super::Refusal;

/// The answer to a command. Dropping it does not withdraw the command.
#[derive(Debug)]
#[must_use = "the answer says whether the command was refused"]
pub struct Pending<T>(Answer<T>);

#[derive(Debug)]
enum Answer<T> {
    /// None once it was taken.
    Ready(Option<Result<T, Refusal>>),
    Waiting(oneshot::Receiver<Result<T, Refusal>>),
}

impl<T> Pending<T> {
    /// An answer that is known already.
    pub fn ready(answer: Result<T, Refusal>) -> Self {
        Self(Answer::Ready(Some(answer)))
    }

    pub(super) fn waiting(answer: oneshot::Receiver<Result<T, Refusal>>) -> Self {
        Self(Answer::Waiting(answer))
    }

    /// The answer, if it is known already.
    pub fn now(self) -> Option<Result<T, Refusal>> {
        match self.0 {
            Answer::Ready(answer) => answer,
            Answer::Waiting(mut answer) => answer.try_recv().ok(),
        }
    }
}

impl<T> Unpin for Pending<T> {}

impl<T> Future for Pending<T> {
    type Output = Result<T, Refusal>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut self.0 {
            Answer::Ready(answer) => match answer.take() {
                Some(answer) => Poll::Ready(answer),
                None => Poll::Pending,
            },
            Answer::Waiting(answer) => {
                let answered = Pin::new(answer).poll(cx);
                answered.map(|answer| answer.unwrap_or(Err(Refusal::Stopping)))
            }
        }
    }
}
