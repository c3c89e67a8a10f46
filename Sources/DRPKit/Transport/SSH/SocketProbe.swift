internal import Foundation
internal import Glibc

/// A connection to a unix socket, of which only its begin and its end are of interest.
struct SocketProbe: ~Copyable {
    private let descriptor: Int32

    /// - Returns: nil if nobody listens there.
    init?(_ path: String) {
        let file = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
        guard file >= 0 else { return nil }
        guard Self.connect(file, to: path) else {
            // Before it is the value's own, whose end would close it once more.
            Glibc.close(file)
            return nil
        }
        descriptor = file
    }

    private static func connect(_ file: Int32, to path: String) -> Bool {
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        guard path.utf8.count < MemoryLayout.size(ofValue: address.sun_path) else { return false }
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: path.utf8) }
        return withUnsafePointer(to: address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                Glibc.connect(file, $0, socklen_t(MemoryLayout<sockaddr_un>.size)) == 0
            }
        }
    }

    deinit { Glibc.close(descriptor) }

    /// Whether the other side has closed it.
    var isEnded: Bool {
        var byte: UInt8 = 0
        let got = recv(descriptor, &byte, 1, Int32(MSG_DONTWAIT))
        return got == 0 || got < 0 && errno != EAGAIN
    }
}
