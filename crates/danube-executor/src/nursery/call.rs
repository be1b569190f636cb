//! How a nursery is reached and what is sent to it: a byte that says what is wanted, with
//! the descriptors for it.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use rustix::cmsg_space;
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketAddrUnix, SocketFlags, SocketType, connect as join,
    recvmsg, sendmsg, socket_with,
};

use super::BIRTH_FDS;
use crate::sys;

/// How long a socket may keep us that takes no more connections: a service manager takes
/// them as they come.
const CONNECT_WAIT_MAX: Duration = Duration::from_secs(5);

/// What is wanted of a nursery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A sandbox.
    Birth,
    /// Something else; the one descriptor is the line on which it is said.
    Errand,
}

const KINDS: [(Kind, u8); 2] = [(Kind::Birth, b'+'), (Kind::Errand, b'?')];

/// Connects, and looks who is there.
pub(super) fn connect(path: &Path) -> io::Result<UnixStream> {
    let socket = socket_with(
        AddressFamily::UNIX,
        SocketType::STREAM,
        SocketFlags::CLOEXEC,
        None,
    )?;
    set_socket_timeout(&socket, Timeout::Send, Some(CONNECT_WAIT_MAX))?;
    join(&socket, &SocketAddrUnix::new(path)?)?;
    let link = UnixStream::from(socket);
    let uid = sys::peer_uid(&link)?;
    if !is_trusted(uid) {
        return Err(io::Error::other(format!(
            "uid {uid} listens there, and only root or uid {} may",
            sys::user_and_group().0
        )));
    }
    Ok(link)
}

/// Whether orders may be given to, and taken from, this user.
pub(super) fn is_trusted(uid: u32) -> bool {
    uid == 0 || uid == sys::user_and_group().0
}

/// Sends what is wanted, with its descriptors: four at most.
pub(super) fn send(link: &UnixStream, kind: Kind, fds: &[BorrowedFd<'_>]) -> io::Result<()> {
    let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(BIRTH_FDS))];
    let mut with = SendAncillaryBuffer::new(&mut space);
    assert!(
        with.push(SendAncillaryMessage::ScmRights(fds)),
        "the space is made for them"
    );
    let (_, byte) = KINDS[usize::from(kind == Kind::Errand)];
    sendmsg(
        link,
        &[IoSlice::new(&[byte])],
        &mut with,
        SendFlags::NOSIGNAL,
    )?;
    Ok(())
}

/// What is wanted next; `None` when the caller is gone.
pub(super) fn receive(link: &UnixStream) -> io::Result<Option<(Kind, Vec<OwnedFd>)>> {
    let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(BIRTH_FDS))];
    let mut with = RecvAncillaryBuffer::new(&mut space);
    let mut byte = [0];
    let mut into = [IoSliceMut::new(&mut byte)];
    if recvmsg(link, &mut into, &mut with, RecvFlags::CMSG_CLOEXEC)?.bytes == 0 {
        return Ok(None);
    }
    let mut fds = Vec::new();
    for message in with.drain() {
        if let RecvAncillaryMessage::ScmRights(found) = message {
            fds.extend(found);
        }
    }
    let kind = KINDS.iter().find(|(_, it)| *it == byte[0]);
    let (kind, _) = kind.ok_or_else(|| io::Error::from_raw_os_error(libc::EBADMSG))?;
    Ok(Some((*kind, fds)))
}
