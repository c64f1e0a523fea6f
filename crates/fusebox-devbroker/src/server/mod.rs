//! The network side: who may connect, and what a connection carries.

mod connection;
pub(crate) mod shape;

use std::{io, net::SocketAddr, sync::Arc};

use tokio::net::{TcpListener, TcpSocket};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::api::Broker;

/// Connections at once.
const MAX_CONNECTIONS: usize = 2000;
/// Connections the system keeps until they are taken.
const BACKLOG: u32 = 1024;

/// The address of a broker.
///
/// A second socket is bound to it and never listens: it keeps the port while connections are
/// refused, and nobody else can get it.
#[derive(Debug)]
pub(crate) struct Port {
    address: SocketAddr,
    _keeper: TcpSocket,
}

impl Port {
    /// Takes the address; a port of 0 is any that is free. Must be called inside a runtime.
    pub(crate) fn take(address: SocketAddr) -> io::Result<(Self, TcpListener)> {
        if address.port() != 0 {
            // Sockets that may share an address do not notice that another broker has it.
            drop(bind(address, false)?);
        }
        let keeper = bind(address, true)?;
        let port = Self {
            address: keeper.local_addr()?,
            _keeper: keeper,
        };
        let listener = port.listen()?;
        Ok((port, listener))
    }

    /// The address, with its port.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    fn listen(&self) -> io::Result<TcpListener> {
        bind(self.address, true)?.listen(BACKLOG)
    }
}

fn bind(address: SocketAddr, shared: bool) -> io::Result<TcpSocket> {
    let socket = if address.is_ipv4() {
        TcpSocket::new_v4()?
    } else {
        TcpSocket::new_v6()?
    };
    // A broker that starts again takes its port at once.
    socket.set_reuseaddr(true)?;
    socket.set_reuseport(shared)?;
    socket.bind(address)?;
    Ok(socket)
}

/// Takes connections until `stop`, then waits for those there are to end.
pub(crate) async fn serve(
    broker: Arc<Broker>,
    port: Port,
    listener: TcpListener,
    stop: CancellationToken,
) {
    let connections = TaskTracker::new();
    let mut refusing = broker.faults.refusing();
    let mut listener = Some(listener);
    loop {
        let refuse = *refusing.borrow_and_update();
        match (refuse, &listener) {
            (true, _) => listener = None,
            (false, None) => match port.listen() {
                Ok(again) => listener = Some(again),
                Err(error) => tracing::error!(%error, "cannot listen again"),
            },
            (false, Some(_)) => {}
        }
        let accepted = async {
            match &listener {
                Some(listener) => listener.accept().await,
                None => std::future::pending().await,
            }
        };
        let accepted = tokio::select! {
            biased;
            () = stop.cancelled() => break,
            changed = refusing.changed() => match changed {
                Ok(()) => continue,
                Err(_) => break,
            },
            accepted = accepted => accepted,
        };
        match accepted {
            Ok((stream, peer)) if connections.len() < MAX_CONNECTIONS => {
                let cut = broker.faults.connection();
                let (broker, stop) = (Arc::clone(&broker), stop.clone());
                connections.spawn(async move {
                    tokio::select! {
                        biased;
                        () = stop.cancelled() => {}
                        () = cut.cancelled() => {}
                        () = connection::serve(&broker, stream, peer) => {}
                    }
                });
            }
            Ok(_) => tracing::warn!(limit = MAX_CONNECTIONS, "too many connections"),
            Err(error) => {
                // Out of descriptors, most likely: some may be given back meanwhile.
                tracing::warn!(%error, "no connection could be taken");
                tokio::time::sleep(std::time::Duration::from_millis(50)).await;
            }
        }
    }
    connections.close();
    connections.wait().await;
}
