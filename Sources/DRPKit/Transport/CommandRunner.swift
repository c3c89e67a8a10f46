internal import Foundation
internal import Subprocess

/// What a program did.
package struct CommandResult: Sendable, Hashable {
    package enum Status: Sendable, Hashable, CustomStringConvertible {
        case exited(Int32)
        case signaled(Int32)

        package var description: String {
            switch self {
            case .exited(let code): "exit status \(code)"
            case .signaled(let signal): "ended by signal \(signal)"
            }
        }
    }

    package var status: Status
    /// All of standard output.
    package var output: [UInt8]
    /// The last 16 KiB of standard error.
    package var errorTail: [UInt8]

    package var outputText: String { String(decoding: output, as: UTF8.self) }
    package var errorText: String { String(decoding: errorTail, as: UTF8.self) }
}

/// A program could not be run to its end. An exit status other than 0 is a result, not an error.
package struct CommandError: DRPError {
    package enum Reason: Sendable, Hashable {
        case notFound
        /// Neither an absolute path nor a bare name, or a NUL in an argument.
        case badArguments
        case deadlineExceeded(Duration)
        /// More output than asked for, in bytes.
        case outputTooLarge(limit: Int)
        case cannotRun(String)
    }

    package var reason: Reason
    /// The program alone: arguments may hold what must not be shown.
    package var program: String

    package var code: ErrorCode {
        if case .deadlineExceeded = reason { .deadlineExceeded } else { .failed }
    }
    package var message: String { "the command \(program) \(shortReason)" }

    package var advice: String {
        switch reason {
        case .notFound: "Install the program, or name it by its absolute path."
        case .badArguments: "Name the program by an absolute path or a bare name."
        case .deadlineExceeded, .outputTooLarge, .cannotRun: "Run the command by hand to see what it does."
        }
    }

    /// Without the program's name.
    package var shortReason: String {
        switch reason {
        case .notFound: "was not found or is not executable"
        case .badArguments: "is neither an absolute path nor a bare name, or an argument holds a NUL"
        case .deadlineExceeded(let time): "took more than \(DurationText.format(time)) and was killed"
        case .outputTooLarge(let limit): "wrote more than \(limit) bytes and was killed"
        case .cannotRun(let cause): "cannot be run: \(cause)"
        }
    }
}

/// Runs programs: an argument vector and never a shell, a session of their own, a deadline, bounded
/// output, a clean environment. The only importer of Subprocess.
package struct CommandRunner: Sendable {
    /// What children get of drp's own environment; secrets that came in by environment stay here.
    package static let passedOn = ["PATH", "HOME", "LANG", "TZ", "TMPDIR"]
    private static let errorTailSize = 16 << 10

    private let environment: [String: String]
    private let clock: any WallClock

    package init(
        environment: [String: String] = ProcessInfo.processInfo.environment, clock: any WallClock = SystemClock()
    ) {
        self.environment = environment.filter { Self.passedOn.contains($0.key) }
        self.clock = clock
    }

    /// Runs one program to its end; may be called from many tasks at once.
    /// - Parameters:
    ///   - arguments: The program (absolute, or a bare name that is looked up in `PATH`) and its arguments.
    ///   - additions: Variables beside those of `passedOn`; they may not hold secrets, since /proc shows them.
    ///   - folder: The working folder; drp's own if nil.
    ///   - input: An open file that becomes standard input and stays the caller's to close; nothing if nil.
    ///   - deadline: Until then the program must have ended, or its whole session is killed. Its end is the end of the
    ///     command: what it leaves running in its session is killed then, also if that keeps the output open.
    ///   - outputLimit: Bytes of standard output; more kills the session.
    /// - Throws: `CommandError`; `CancellationError` after the session was killed.
    package func run(
        _ arguments: [String], additions: [String: String] = [:], folder: String? = nil, input: Int32? = nil,
        deadline: Duration, outputLimit: Int = 1 << 20
    ) async throws -> CommandResult {
        let program = arguments.first ?? ""
        guard isRunnable(arguments) else { throw CommandError(reason: .badArguments, program: program) }
        var options = PlatformOptions()
        options.createSession = true
        var variables: [Environment.Key: String] = [:]
        for (name, value) in environment.merging(additions, uniquingKeysWith: { $1 }) {
            guard let key = Environment.Key(rawValue: name) else { continue }
            variables[key] = value
        }
        let configuration = Configuration(
            executable: program.hasPrefix("/") ? .path(Self.literal(program)) : .name(program),
            arguments: Arguments(Array(arguments.dropFirst())),
            environment: .custom(variables),
            workingDirectory: folder.map { Self.literal($0) },
            platformOptions: options)
        guard let input else {
            return try await execute(configuration, .none, program: program, limit: outputLimit, deadline: deadline)
        }
        return try await execute(
            configuration, .fileDescriptor(Self.descriptor(input), closeAfterSpawningProcess: false), program: program,
            limit: outputLimit, deadline: deadline)
    }

    private func execute(
        _ configuration: Configuration, _ input: some InputProtocol, program: String, limit: Int, deadline: Duration
    ) async throws -> CommandResult {
        let clock = clock
        do {
            let result = try await Subprocess.run(
                configuration, input: input, output: .sequence, error: .sequence
            ) { execution in
                let session = ProcessSession(id: execution.processIdentifier.value)
                let (output, tail) = (execution.standardOutput, execution.standardError)
                return try await withTaskCancellationHandler {
                    try await Self.collect(
                        output, tail, session: session, program: program, limit: limit, deadline: deadline,
                        clock: clock)
                } onCancel: {
                    session.kill()
                }
            }
            try Task.checkCancellation()
            return CommandResult(
                status: Self.status(result.terminationStatus), output: result.closureResult.output,
                errorTail: result.closureResult.errorTail)
        } catch let error as SubprocessError {
            try Task.checkCancellation()
            throw CommandError(
                reason: error.code == .executableNotFound ? .notFound : .cannotRun("\(error)"), program: program)
        }
    }

    private func isRunnable(_ arguments: [String]) -> Bool {
        guard let program = arguments.first, !program.isEmpty, program.hasPrefix("/") || !program.contains("/") else {
            return false
        }
        return arguments.allSatisfy { !$0.utf8.contains(0) }
    }

    /// A `FilePath` without importing the package that owns it.
    private static func literal<Value: ExpressibleByStringLiteral>(_ text: String) -> Value
    where Value.StringLiteralType == String { Value(stringLiteral: text) }

    /// A `FileDescriptor`, likewise: it can be made of every number.
    private static func descriptor<Value: RawRepresentable>(_ number: Int32) -> Value where Value.RawValue == Int32 {
        guard let value = Value(rawValue: number) else { preconditionFailure("no descriptor of \(number)") }
        return value
    }

    private static func status(_ status: TerminationStatus) -> CommandResult.Status {
        switch status {
        case .exited(let code): .exited(code)
        case .signaled(let signal): .signaled(signal)
        }
    }

    private struct Collected: Sendable {
        var output: [UInt8] = []
        var errorTail: [UInt8] = []
    }

    private enum Ended: Sendable {
        case output([UInt8])
        case errors([UInt8])
        case program
        case deadline
    }

    /// Reads both outputs to their ends and waits for the program, under the deadline. The session is dead afterwards.
    private static func collect(
        _ output: SubprocessOutputSequence, _ errors: SubprocessOutputSequence, session: ProcessSession,
        program: String, limit: Int, deadline: Duration, clock: any WallClock
    ) async throws -> Collected {
        try await withThrowingTaskGroup(of: Ended.self) { group in
            group.addTask { .output(try await read(output, upTo: limit, program: program)) }
            group.addTask { .errors(try await readTail(errors)) }
            group.addTask {
                // It ends for certain: what does not end by itself is killed below.
                try await OwnThread.run("command") { session.waitForLeader() }
                return .program
            }
            group.addTask {
                try await clock.sleep(for: deadline)
                return .deadline
            }
            defer { group.cancelAll() }
            do {
                var (collected, open) = (Collected(), 3)
                while open > 0, let ended = try await group.next() {
                    switch ended {
                    case .output(let bytes): collected.output = bytes
                    case .errors(let bytes): collected.errorTail = bytes
                    case .program: break
                    case .deadline: throw CommandError(reason: .deadlineExceeded(deadline), program: program)
                    }
                    open -= 1
                }
                session.kill()
                return collected
            } catch {
                session.kill()
                throw error
            }
        }
    }

    private static func read(_ sequence: SubprocessOutputSequence, upTo limit: Int, program: String) async throws
        -> [UInt8]
    {
        var bytes: [UInt8] = []
        for try await buffer in sequence {
            // What escaped from the session can write on for ever.
            try Task.checkCancellation()
            guard buffer.count <= limit - bytes.count else {
                throw CommandError(reason: .outputTooLarge(limit: limit), program: program)
            }
            buffer.withUnsafeBytes { bytes.append(contentsOf: $0) }
        }
        return bytes
    }

    private static func readTail(_ sequence: SubprocessOutputSequence) async throws -> [UInt8] {
        var bytes: [UInt8] = []
        for try await buffer in sequence {
            try Task.checkCancellation()
            buffer.withUnsafeBytes { bytes.append(contentsOf: $0) }
            if bytes.count > errorTailSize { bytes.removeFirst(bytes.count - errorTailSize) }
        }
        return bytes
    }
}

/// All processes of a session, whatever groups they made for themselves.
private struct ProcessSession: Sendable {
    let id: pid_t

    /// Blocks until the program has ended, and leaves its status to be read: until then its id is not given to another.
    func waitForLeader() {
        var info = siginfo_t()
        while waitid(P_PID, id_t(id), &info, WEXITED | WNOWAIT) != 0 && errno == EINTR {}
    }

    /// The most times that the list of members is read.
    private static let rounds = 50

    func kill() {
        _ = Glibc.kill(-id, SIGKILL)
        // Until nobody is left: a process can fork while the list is read.
        for _ in 0..<Self.rounds {
            let members = members()
            if members.isEmpty { return }
            for member in members { _ = Glibc.kill(member, SIGKILL) }
        }
    }

    /// Those that live, by the fields `state` and `session` of /proc/PID/stat (proc(5)): the first and the fourth after
    /// the name in parentheses.
    private func members() -> [pid_t] {
        // A system without /proc has no list; the process group above was killed anyway.
        let names = (try? FileManager.default.contentsOfDirectory(atPath: "/proc")) ?? []
        return names.compactMap(pid_t.init).filter { process in
            guard let line = FileManager.default.contents(atPath: "/proc/\(process)/stat") else { return false }
            let text = String(decoding: line, as: UTF8.self)
            guard let end = text.lastIndex(of: ")") else { return false }
            let fields = text[text.index(after: end)...].split(separator: " ")
            return fields.count > 3 && pid_t(fields[3]) == id && process > 1 && !["Z", "X"].contains(fields[0])
        }
    }
}
