internal import Foundation

/// Where a secret lies; the fleet file holds this and never the secret.
package enum SecretSource: Sendable, Hashable, Codable, CustomStringConvertible {
    /// A file of at most 1 MiB; the newline at its end is not part of the secret.
    case file(path: String)
    /// An environment variable of drp; children do not get it.
    case env(name: String)
    /// The standard output of a program, which gets no shell and 10 s.
    case command(arguments: [String])
    /// A file of that name in `$CREDENTIALS_DIRECTORY` (systemd.exec(5), LoadCredential=).
    case credential(name: String)

    /// For messages: the place, never the value. Of a command only the program is named.
    package var description: String {
        switch self {
        case .file(let path): "file \(path)"
        case .env(let name): "environment variable \(name)"
        case .command(let arguments): "command \(arguments.first ?? "")"
        case .credential(let name): "credential \(name)"
        }
    }
}

/// A secret could not be had.
package struct SecretError: DRPError {
    package enum Reason: Sendable, Hashable {
        case missing, denied, tooLarge, empty, notARegularFile
        case noCredentialsDirectory
        /// The program failed; nothing of its output is kept, since it might hold the secret.
        case commandFailed(String)
    }

    package var reason: Reason
    package var source: SecretSource
    package var code: ErrorCode { .secretUnavailable }

    package var message: String {
        let what =
            switch reason {
            case .missing: "does not exist"
            case .denied: "cannot be read by this account"
            case .tooLarge: "is larger than 1 MiB"
            case .empty: "is empty"
            case .notARegularFile: "is not a regular file"
            case .noCredentialsDirectory: "needs $CREDENTIALS_DIRECTORY, which is not set"
            case .commandFailed(let cause): "failed: \(cause)"
            }
        return "the secret in \(source) \(what)"
    }
}

/// Fetches secrets from where the fleet file says they lie. Values are not kept.
package struct SecretResolver: Sendable {
    package static let maximumSize = 1 << 20
    private let environment: [String: String]
    private let runner: CommandRunner

    /// - Parameter environment: where `env` and `credential` look; that of the process unless a test gives its own.
    package init(
        environment: [String: String] = ProcessInfo.processInfo.environment, runner: CommandRunner = CommandRunner()
    ) {
        self.environment = environment
        self.runner = runner
    }

    /// Reads the secret anew at each call; may be called from many tasks at once.
    /// - Throws: `SecretError`, which names the source and never the value; `CancellationError`.
    package func resolve(_ source: SecretSource) async throws -> Secret {
        switch source {
        case .file(let path):
            return try await read(path: path, source: source)
        case .env(let name):
            guard let value = environment[name] else { throw SecretError(reason: .missing, source: source) }
            return try secret(Array(value.utf8), source: source)
        case .credential(let name):
            guard let folder = environment["CREDENTIALS_DIRECTORY"], folder.hasPrefix("/") else {
                throw SecretError(reason: .noCredentialsDirectory, source: source)
            }
            // A name leads into that folder and nowhere else.
            guard !name.isEmpty, !name.contains("/"), !name.hasPrefix("."), !name.utf8.contains(0) else {
                throw SecretError(reason: .missing, source: source)
            }
            return try await read(path: folder + "/" + name, source: source)
        case .command(let arguments):
            let result: CommandResult
            do {
                result = try await runner.run(arguments, deadline: .seconds(10))
            } catch let error as CommandError {
                if case .outputTooLarge = error.reason { throw SecretError(reason: .tooLarge, source: source) }
                throw SecretError(reason: .commandFailed(error.shortReason), source: source)
            }
            guard result.status == .exited(0) else {
                throw SecretError(reason: .commandFailed("\(result.status)"), source: source)
            }
            return try secret(result.output, source: source)
        }
    }

    /// Whether others than owner and group can read the file of a secret: `check` warns about it.
    /// - Returns: nil if the source is no file or cannot be looked at.
    package func isWorldReadable(_ source: SecretSource) -> Bool? {
        guard case .file(let path) = source else { return nil }
        var status = stat()
        guard stat(path, &status) == 0 else { return nil }
        return status.st_mode & 0o004 != 0
    }

    private func read(path: String, source: SecretSource) async throws -> Secret {
        let bytes = try await OwnThread.run("secret") { try Self.readFile(path, source: source) }
        return try secret(bytes, source: source)
    }

    private static func readFile(_ path: String, source: SecretSource) throws -> [UInt8] {
        // Without O_NONBLOCK a FIFO in its place would hold the thread for ever.
        let descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
        guard descriptor >= 0 else {
            throw SecretError(reason: errno == ENOENT || errno == ENOTDIR ? .missing : .denied, source: source)
        }
        defer { close(descriptor) }
        var status = stat()
        guard fstat(descriptor, &status) == 0, status.st_mode & S_IFMT == S_IFREG else {
            throw SecretError(reason: .notARegularFile, source: source)
        }
        var bytes = [UInt8](repeating: 0, count: maximumSize + 1)
        var count = 0
        while count < bytes.count {
            let got = bytes.withUnsafeMutableBytes {
                Foundation.read(descriptor, $0.baseAddress! + count, $0.count - count)
            }
            if got < 0 && errno == EINTR { continue }
            guard got >= 0 else { throw SecretError(reason: .denied, source: source) }
            if got == 0 { break }
            count += got
        }
        guard count <= maximumSize else { throw SecretError(reason: .tooLarge, source: source) }
        return Array(bytes[..<count])
    }

    /// Cuts one newline (`\n` or `\r\n`) off the end: editors and `echo` add it.
    private func secret(_ bytes: [UInt8], source: SecretSource) throws -> Secret {
        var bytes = bytes
        guard bytes.count <= Self.maximumSize else { throw SecretError(reason: .tooLarge, source: source) }
        if bytes.last == 0x0a {
            bytes.removeLast()
            if bytes.last == 0x0d { bytes.removeLast() }
        }
        guard !bytes.isEmpty else { throw SecretError(reason: .empty, source: source) }
        return Secret(bytes)
    }
}
