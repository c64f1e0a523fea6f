//! One connection: frames in, answers out, one after the other.

use std::{io, net::SocketAddr};

use bytes::{Bytes, BytesMut};
use kafka_protocol::messages::ApiKey;
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    sync::mpsc,
};
use tokio_util::sync::CancellationToken;

use crate::api::{Answer, Broker, Peer};

/// Longest request to produce: a batch per partition, of many partitions.
const MAX_PRODUCE_BYTES: usize = 64 << 20;
/// Longest request of other kinds.
const MAX_REQUEST_BYTES: usize = 4 << 20;
/// Requests that are read ahead.
const READ_AHEAD: usize = 8;
/// Reserved for a frame before its bytes have come.
const FIRST_RESERVE: usize = 64 << 10;

/// Answers requests until the client hangs up or sends something that is none.
pub(crate) async fn serve(broker: &Broker, mut stream: TcpStream, address: SocketAddr) {
    // Only a matter of speed.
    drop(stream.set_nodelay(true));
    let peer = Peer {
        address,
        gone: CancellationToken::new(),
    };
    let (mut from, mut to) = stream.split();
    let (frames, mut requests) = mpsc::channel(READ_AHEAD);
    // Reads ahead, so that one who hangs up is noticed while it waits for an answer.
    let reading = async {
        loop {
            broker.faults.thawed().await;
            match read_frame(&mut from).await {
                Ok(Some(frame)) => {
                    if frames.send(frame).await.is_err() {
                        break;
                    }
                }
                Ok(None) => break,
                Err(error) => {
                    tracing::debug!(%error, peer = %address, "connection ends");
                    break;
                }
            }
        }
        peer.gone.cancel();
        drop(frames);
    };
    let answering = async {
        while let Some(frame) = requests.recv().await {
            broker.faults.thawed().await;
            let answer = match broker.answer(&peer, frame).await {
                Ok(answer) => answer,
                Err(refusal) => {
                    tracing::warn!(error = %refusal, peer = %address, "connection closed");
                    break;
                }
            };
            broker.faults.thawed().await;
            match answer {
                Answer::Bytes(bytes) => {
                    if to.write_all(&bytes).await.is_err() {
                        break;
                    }
                }
                Answer::None => {}
                Answer::Close => break,
            }
        }
    };
    tokio::pin!(reading, answering);
    tokio::select! {
        // What was sent before hanging up is still done.
        () = &mut reading => answering.await,
        () = &mut answering => {}
    }
}

/// The next frame without its length; `None` when the client has hung up between two.
async fn read_frame(from: &mut (impl AsyncRead + Unpin)) -> io::Result<Option<Bytes>> {
    let mut length = [0; 4];
    let first = from.read(&mut length).await?;
    if first == 0 {
        return Ok(None);
    }
    let (_, rest) = length.split_at_mut(first);
    from.read_exact(rest).await?;
    let length = usize::try_from(i32::from_be_bytes(length)).unwrap_or(usize::MAX);
    // The kind of request decides what is too long, and comes first.
    let mut kind = [0; 2];
    from.read_exact(&mut kind).await?;
    let is_produce = i16::from_be_bytes(kind) == ApiKey::Produce as i16;
    let longest = if is_produce {
        MAX_PRODUCE_BYTES
    } else {
        MAX_REQUEST_BYTES
    };
    if !(8..=longest).contains(&length) {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "a request of this length is not taken",
        ));
    }
    let mut frame = BytesMut::with_capacity(length.min(FIRST_RESERVE));
    frame.extend_from_slice(&kind);
    let mut rest = from.take((length - kind.len()) as u64);
    // Memory is taken as the bytes come.
    while frame.len() < length {
        if rest.read_buf(&mut frame).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    Ok(Some(frame.freeze()))
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn read(bytes: &[u8]) -> io::Result<Option<Bytes>> {
        let mut bytes = bytes;
        read_frame(&mut bytes).await
    }

    #[tokio::test]
    async fn frames_are_cut_out_and_lengths_are_bounded() {
        assert_eq!(read(&[]).await.unwrap(), None);
        let frame = read(b"\0\0\0\x08\0\x03abcdefnext").await.unwrap().unwrap();
        assert_eq!(frame, &b"\0\x03abcdef"[..]);
        for cut in 1..12 {
            read(&b"\0\0\0\x08\0\x03abcdef"[..cut]).await.unwrap_err();
        }
        let too_long = |kind: u8, length: usize| {
            let mut bytes = u32::try_from(length).unwrap().to_be_bytes().to_vec();
            bytes.extend([0, kind]);
            bytes.resize(length.min(5 << 20) + 4, 0);
            bytes
        };
        for bytes in [
            too_long(3, MAX_REQUEST_BYTES + 1),
            too_long(0, MAX_PRODUCE_BYTES + 1),
            too_long(3, 7),
            b"\xff\xff\xff\xff\0\x03".to_vec(),
        ] {
            let error = read(&bytes).await.unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidData);
        }
        read(&too_long(3, MAX_REQUEST_BYTES))
            .await
            .unwrap()
            .unwrap();
        read(&too_long(0, 5 << 20)).await.unwrap().unwrap();
    }
}
