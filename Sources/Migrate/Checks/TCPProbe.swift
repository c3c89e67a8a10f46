internal import DRPKit
internal import Glibc

/// Whether something listens at an address, as far as this machine can tell.
enum TCPProbe {
    /// - Parameter address: IPv4.
    /// - Returns: false also where no answer came within `deadline`.
    static func isOpen(_ address: String, _ port: Int, within deadline: Duration = .seconds(1)) async throws -> Bool {
        try await OwnThread.run("tcp-probe") {
            var place = sockaddr_in()
            place.sin_family = sa_family_t(AF_INET)
            place.sin_port = UInt16(truncatingIfNeeded: port).bigEndian
            guard inet_pton(AF_INET, address, &place.sin_addr) == 1 else { return false }
            let kind = Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue) | Int32(SOCK_NONBLOCK.rawValue)
            let descriptor = socket(AF_INET, kind, 0)
            guard descriptor >= 0 else { return false }
            defer { close(descriptor) }
            let size = socklen_t(MemoryLayout<sockaddr_in>.size)
            let result = withUnsafePointer(to: &place) {
                $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { connect(descriptor, $0, size) }
            }
            if result == 0 { return true }
            guard errno == EINPROGRESS else { return false }
            var poller = pollfd(fd: descriptor, events: Int16(POLLOUT), revents: 0)
            guard poll(&poller, 1, Int32(deadline / .milliseconds(1))) == 1 else { return false }
            var failure: Int32 = 0
            var length = socklen_t(MemoryLayout<Int32>.size)
            return getsockopt(descriptor, SOL_SOCKET, SO_ERROR, &failure, &length) == 0 && failure == 0
        }
    }
}
