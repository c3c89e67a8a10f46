internal import Foundation

/// The process's key and one site's certificate for it, fetched anew before it ends.
actor SSHCredentials {
    /// For the certificate command.
    static let commandDeadline = Duration.seconds(30)

    private let site: SSHSite
    private let folder: SSHFolder
    private let keyFile: String
    private let key: [UInt8]
    private let runner: CommandRunner
    private let clock: any WallClock
    private let audit: SSHAudit
    private var held: (certificate: SSHCertificate, fetched: Date)?
    private var fetching: Task<SSHCertificate, any Error>?

    /// Beside its key, so that a connection that begins reads the old or the new one whole.
    nonisolated let certificateFile: String

    init(
        site: SSHSite, folder: SSHFolder, key: SSHKey, runner: CommandRunner, clock: any WallClock, audit: SSHAudit
    ) {
        self.site = site
        self.folder = folder
        keyFile = key.file
        self.key = key.publicKey
        self.runner = runner
        self.clock = clock
        self.audit = audit
        certificateFile = folder.newPath("c")
    }

    /// A certificate that a connection can begin with; it lies in `certificateFile`. Many may ask at once: one fetches.
    func certificate() async throws -> SSHCertificate {
        if let held, held.certificate.isFresh(at: clock.now, fetched: held.fetched) { return held.certificate }
        if let fetching { return try await fetching.value }
        let task = Task { try await fetch() }
        fetching = task
        defer { fetching = nil }
        return try await task.value
    }

    private func fetch() async throws -> SSHCertificate {
        var line = SSHAudit.Line(action: .certificate, site: site.name)
        do {
            let certificate = try await ask()
            if let problem = certificate.problem(for: key, principal: site.principal, now: clock.now) {
                line.certificate = certificate
                throw SSHError(problem, site.name)
            }
            do throws(FileError) {
                try AtomicFile.write(certificateFile, Array((certificate.text + "\n").utf8), mode: 0o600, .replace)
            } catch { throw SSHError(.noPrivateMemory(error.message), site.name) }
            line.certificate = certificate
            try audit.write(line)
            held = (certificate, clock.now)
            return certificate
        } catch let error as SSHError {
            line.error = error
            try audit.write(line)
            throw error
        }
    }

    private func ask() async throws -> SSHCertificate {
        let command = site.certificate.map {
            $0.replacingOccurrences(of: Site.Bastion.publicKey, with: keyFile + ".pub")
        }
        let result: CommandResult
        do {
            result = try await runner.run(
                command, deadline: Self.commandDeadline, outputLimit: SSHCertificate.maximumText)
        } catch let error as CommandError {
            throw SSHError(.certificateCommandFailed(error.shortReason), site.name)
        }
        guard result.status == .exited(0) else {
            throw SSHError(.certificateCommandFailed("failed: \(result.status)"), site.name)
        }
        guard let certificate = SSHCertificate(result.output) else {
            throw SSHError(.certificateUnusable("it wrote something else than one certificate"), site.name)
        }
        return certificate
    }
}

/// The process's own key pair, made for it and gone with it.
struct SSHKey: Sendable {
    let file: String
    /// 32 bytes.
    let publicKey: [UInt8]

    static func make(in folder: SSHFolder, _ runner: CommandRunner) async throws -> SSHKey {
        let file = folder.newPath("k")
        let result: CommandResult
        do {
            result = try await runner.run(
                ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "drp", "-f", file], deadline: .seconds(20))
        } catch let error as CommandError {
            throw SSHKeyError(cause: error.shortReason, isMissing: error.reason == .notFound)
        }
        guard result.status == .exited(0) else { throw SSHKeyError(cause: "\(result.status)", isMissing: false) }
        // Not a secret, and written by ssh-keygen a moment ago.
        let line = try String(contentsOfFile: file + ".pub", encoding: .utf8)
        guard let publicKey = SSHCertificate.ed25519(publicLine: line) else {
            throw SSHKeyError(cause: "it wrote no Ed25519 key", isMissing: false)
        }
        return SSHKey(file: file, publicKey: publicKey)
    }
}

struct SSHKeyError: Error {
    var cause: String
    var isMissing: Bool
}
