internal import Glibc

/// Finds ports to listen on.
enum FreePorts {
    /// Below the range from which the kernel takes ports of outgoing connections (32,768 and up), so that a
    /// stopped server finds its port free when it comes back.
    static let range = 20_000..<32_000

    /// - Parameter taken: Ports that stopped neighbours will want again.
    /// - Returns: The first free ones, counted from the range's begin; fewer than `count` if there are no more.
    static func choose(_ count: Int, at address: String, besides taken: Set<Int>) -> [Int] {
        var ports: [Int] = []
        for port in range where !taken.contains(port) && isFree(port, at: address) {
            ports.append(port)
            if ports.count == count { break }
        }
        return ports
    }

    static func isAddress(_ text: String) -> Bool {
        var address = in_addr()
        return inet_pton(AF_INET, text, &address) == 1
    }

    static func isFree(_ port: Int, at address: String) -> Bool {
        var place = sockaddr_in()
        place.sin_family = sa_family_t(AF_INET)
        place.sin_port = UInt16(truncatingIfNeeded: port).bigEndian
        guard inet_pton(AF_INET, address, &place.sin_addr) == 1 else { return false }
        let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
        guard descriptor >= 0 else { return false }
        defer { close(descriptor) }
        // As the servers do: connections that ended a moment ago are no hindrance.
        var yes: Int32 = 1
        setsockopt(descriptor, SOL_SOCKET, SO_REUSEADDR, &yes, socklen_t(MemoryLayout<Int32>.size))
        let size = socklen_t(MemoryLayout<sockaddr_in>.size)
        return withUnsafePointer(to: &place) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { bind(descriptor, $0, size) }
        } == 0
    }
}
