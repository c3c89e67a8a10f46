internal import Foundation
internal import Glibc

/// Who went where by SSH: lines of JSON with the fields of the Elastic Common Schema 8.11, appended to one file that its
/// owner alone can read. Written before what it tells of counts as done.
package struct SSHAudit: Sendable {
    package enum Action: String, Sendable {
        case certificate = "ssh-certificate-fetched"
        case connected = "ssh-connected"
        case forwarded = "ssh-forwarded"
        case command = "ssh-command-run"
        case closed = "ssh-closed"
    }

    static let ecsVersion = "8.11.0"

    package let path: String
    private let clock: any WallClock
    private let operatorName: String
    private let operatorID: UInt32

    /// - Parameter state: drp's state folder; the file is `audit/ssh.jsonl` in it.
    package init(state: String, clock: any WallClock) {
        path = state + "/audit/ssh.jsonl"
        self.clock = clock
        (operatorID, operatorName) = Self.person()
    }

    /// What one line tells beside time and person.
    struct Line {
        var action: Action
        var site: SiteName
        var endpoint: SSHSite.Endpoint?
        var certificate: SSHCertificate?
        /// What was forwarded to.
        var target: SSHTarget?
        /// The program alone: arguments may hold what must not be written down.
        var program: String?
        var exitCode: Int32?
        var error: SSHError?
    }

    /// - Throws: `SSHError.Reason.noAudit`.
    func write(_ line: Line) throws(SSHError) {
        do {
            try append(try encode(line))
        } catch {
            let cause = (error as? AuditError)?.cause ?? "\(error)"
            throw SSHError(.noAudit("\(path): \(cause)"), line.site, line.endpoint)
        }
    }

    // MARK: The line

    private struct Entry: Encodable {
        struct Event: Encodable {
            var kind = "event"
            var category: [String]
            var type: [String]
            var action: String
            var outcome: String
        }
        struct User: Encodable {
            struct Effective: Encodable { var name: String }
            var id: String
            var name: String
            var effective: Effective?
        }
        struct Destination: Encodable {
            var address: String
            var port: Int
        }
        struct Process: Encodable {
            var name: String
            var exitCode: Int32?
        }
        struct Fault: Encodable {
            var code: String
            var message: String
        }
        struct Network: Encodable { var `protocol` = "ssh" }
        struct ECS: Encodable { var version = SSHAudit.ecsVersion }
        struct Service: Encodable { var name = "drp" }
        /// What the schema has no field for stands below the program's own name, as the schema asks.
        struct Own: Encodable {
            struct Certificate: Encodable {
                /// A string: 64 bits do not fit into every reader's numbers.
                var serial: String
                var keyID: String
                var principals: [String]
                var notAfter: String?
            }
            var pid: Int32
            var site: String
            var host: String?
            var target: String?
            var certificate: Certificate?
        }

        var timestamp: String
        var ecs = ECS()
        var event: Event
        var service = Service()
        var network = Network()
        var user: User
        var destination: Destination?
        var process: Process?
        var error: Fault?
        var drp: Own

        enum CodingKeys: String, CodingKey {
            case timestamp = "@timestamp"
            case ecs, event, service, network, user, destination, process, error, drp
        }
    }

    func encode(_ line: Line) throws -> [UInt8] {
        let certificate = line.certificate.map {
            Entry.Own.Certificate(
                serial: "\($0.serial)", keyID: String($0.keyID.prefix(200)),
                principals: Array($0.principals.prefix(20)),
                notAfter: $0.ends.map(Self.text))
        }
        let entry = Entry(
            timestamp: Self.text(clock.now),
            event: .init(
                category: line.action.category, type: line.action.type, action: line.action.rawValue,
                outcome: line.error == nil ? "success" : "failure"),
            user: .init(
                id: "\(operatorID)", name: operatorName, effective: line.endpoint.map { .init(name: $0.user) }),
            destination: line.endpoint.map { .init(address: $0.address, port: $0.port) },
            process: line.program.map { .init(name: $0, exitCode: line.exitCode) },
            error: line.error.map { .init(code: $0.code.rawValue, message: $0.message) },
            drp: .init(
                pid: getpid(), site: "\(line.site)", host: line.endpoint?.name, target: line.target?.description,
                certificate: certificate))
        let encoder = JSONEncoder()
        encoder.keyEncodingStrategy = .convertToSnakeCase
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        return Self.plain(String(decoding: try encoder.encode(entry), as: UTF8.self)) + [0x0a]
    }

    /// ASCII alone, so that nothing in a line can turn a terminal or a reader around.
    private static func plain(_ json: String) -> [UInt8] {
        var bytes: [UInt8] = []
        for unit in json.utf16 {
            if (0x20..<0x7f).contains(unit) {
                bytes.append(UInt8(unit))
            } else {
                let digits = String(unit, radix: 16)
                bytes += Array(("\\u" + String(repeating: "0", count: 4 - digits.count) + digits).utf8)
            }
        }
        return bytes
    }

    private static func text(_ date: Date) -> String {
        Date.ISO8601FormatStyle(includingFractionalSeconds: true).format(date)
    }

    /// Who logged in at this machine, also where drp was started with `sudo` (proc(5), loginuid); else whose process it is.
    private static func person() -> (UInt32, String) {
        // Without audit in the kernel the file is not there.
        let text = (try? String(contentsOfFile: "/proc/self/loginuid", encoding: .utf8)) ?? ""
        let login = UInt32(text.trimmingCharacters(in: .whitespacesAndNewlines)).flatMap { $0 == .max ? nil : $0 }
        let id = login ?? getuid()
        let entry = getpwuid(id)
        return (id, entry.map { String(cString: $0.pointee.pw_name) } ?? "\(id)")
    }

    // MARK: The file

    private struct AuditError: Error { var cause: String }

    /// In one write, so that lines of several processes do not mix.
    private func append(_ bytes: [UInt8]) throws {
        let folder = String(path.prefix(upTo: path.lastIndex(of: "/") ?? path.startIndex))
        guard mkdir(folder, 0o700) == 0 || errno == EEXIST else {
            throw AuditError(cause: String(cString: strerror(errno)))
        }
        let file = open(path, O_WRONLY | O_CREAT | O_APPEND | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, 0o600)
        guard file >= 0 else { throw AuditError(cause: String(cString: strerror(errno))) }
        defer { close(file) }
        let put = bytes.withUnsafeBytes { Glibc.write(file, $0.baseAddress, bytes.count) }
        guard put == bytes.count else {
            throw AuditError(cause: put < 0 ? String(cString: strerror(errno)) : "no space is left")
        }
    }
}

extension SSHAudit.Action {
    fileprivate var category: [String] {
        switch self {
        case .certificate: ["authentication"]
        case .connected, .closed: ["network", "session"]
        case .forwarded: ["network"]
        case .command: ["process"]
        }
    }

    fileprivate var type: [String] {
        switch self {
        case .certificate: ["info"]
        case .connected: ["connection", "start"]
        case .forwarded: ["connection", "allowed"]
        case .command: ["start", "end"]
        case .closed: ["connection", "end"]
        }
    }
}
