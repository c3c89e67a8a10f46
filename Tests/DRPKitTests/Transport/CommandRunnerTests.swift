import Foundation
import TestSupport
import Testing

@testable import DRPKit

@Suite struct CommandRunnerTests {
    let folder: TemporaryFolder
    init() throws { folder = try TemporaryFolder() }

    private let runner = CommandRunner(
        environment: ["PATH": "/usr/bin:/bin", "HOME": "/h", "CANARY": "canary-env"], clock: PatientClock())

    private func shell(
        _ script: String, outputLimit: Int = 1 << 20, clock: any WallClock = PatientClock()
    ) async throws -> CommandResult {
        try await CommandRunner(environment: ["PATH": "/usr/bin:/bin"], clock: clock).run(
            ["/bin/sh", "-c", script], deadline: .seconds(7), outputLimit: outputLimit)
    }

    private func error(_ body: () async throws -> CommandResult) async throws -> CommandError {
        let error = await #expect(throws: CommandError.self) { _ = try await body() }
        return try #require(error)
    }

    @Test("output, errors and exit status come back apart; a status other than 0 is a result")
    func runs() async throws {
        let result = try await shell("echo out; echo err >&2; exit 3")
        #expect(result.outputText == "out\n" && result.errorText == "err\n" && result.status == .exited(3))
        #expect(try await shell("kill -TERM $$").status == .signaled(SIGTERM))
        #expect(try await runner.run(["true"], deadline: .seconds(7)).status == .exited(0))
    }

    @Test("arguments reach the program as they are: nothing is a line for a shell")
    func noShell() async throws {
        let hostile = ["$(touch x)", "; reboot", "a b", "*", "`id`", "\u{e9}\n", "", "-n", "'\""]
        let result = try await runner.run(["printf", "%s|"] + hostile, deadline: .seconds(7))
        #expect(result.outputText == hostile.map { $0 + "|" }.joined())
    }

    @Test("a child gets a few plain variables and what is added, and no secret of drp's environment")
    func cleansEnvironment() async throws {
        let result = try await runner.run(["/usr/bin/env"], additions: ["EXTRA": "e"], deadline: .seconds(7))
        #expect(
            Set(result.outputText.split(separator: "\n").map(String.init)) == [
                "PATH=/usr/bin:/bin", "HOME=/h", "EXTRA=e",
            ])
        // In /proc as well, where others of the machine could look.
        let seen = try await runner.run(["/bin/cat", "/proc/self/environ"], deadline: .seconds(7))
        #expect(!seen.outputText.contains("canary"))
    }

    @Test("no open file of drp reaches a child")
    func closesFiles() async throws {
        let file = open(folder.path("secret"), O_RDWR | O_CREAT, 0o600)
        defer { close(file) }
        #expect(file > 2)
        let result = try await shell("ls /proc/self/fd/\(file) 2>/dev/null || echo closed")
        #expect(result.outputText == "closed\n")
    }

    @Test("a program that waits for input gets none, at once")
    func givesNoInput() async throws {
        #expect(try await runner.run(["cat"], deadline: .seconds(7)).output == [])
    }

    @Test("a program that is not there, and what is no program, are told apart; arguments are never shown")
    func namesProgram() async throws {
        for program in ["/nonexistent/drp-test", "drp-test-nonexistent", "/etc/passwd"] {
            let error = try await error { try await runner.run([program, "canary"], deadline: .seconds(7)) }
            #expect(error.reason == .notFound && error.message.contains(program), "\(error)")
            #expect(!"\(error) \(error.message) \(error.advice)".contains("canary"))
        }
        for arguments in [[], [""], ["a/b"], ["./a"], ["../a", "canary"], ["cat", "canary\u{0}x"]] {
            let error = try await error { try await runner.run(arguments, deadline: .seconds(7)) }
            #expect(error.reason == .badArguments && !"\(error) \(error.message)".contains("canary"), "\(error)")
        }
        let missing = try await error {
            try await runner.run(["true"], folder: folder.path("none"), deadline: .seconds(7))
        }
        #expect(missing.message.contains("true"), "\(missing)")
    }

    @Test("a program runs in the folder that is named")
    func entersFolder() async throws {
        let result = try await runner.run(["/bin/pwd", "-P"], folder: folder.path, deadline: .seconds(7))
        #expect(result.outputText.trimmingCharacters(in: .newlines).hasSuffix(folder.url.lastPathComponent))
    }

    @Test("output up to the limit is kept whole, one byte more ends the program, also one that never ends")
    func boundsOutput() async throws {
        #expect(try await shell("head -c 4096 /dev/zero", outputLimit: 4096).output.count == 4096)
        for script in ["head -c 4097 /dev/zero", "yes", "echo err >&2; yes"] {
            let error = try await error { try await shell(script, outputLimit: 4096) }
            #expect(error.reason == .outputTooLarge(limit: 4096), "\(error)")
        }
        let result = try await shell("head -c 300000 /dev/zero | tr '\\0' e >&2; echo end >&2")
        #expect(result.errorTail.count == 16 << 10 && result.errorText.hasSuffix("eeend\n"))
    }

    @Test("at the deadline the whole session is killed: children in the background and those of groups of their own")
    func killsSession() async throws {
        let pipe = try ReadyPipe(in: folder)
        // -m gives every job in the background a process group of its own.
        let script = """
            exec 3>'\(pipe.path)'; set -m
            sh -c 'trap "" TERM HUP INT; sleep 1000 & sleep 1000' &
            (sleep 1000 | sleep 1000) &
            echo ready >&3; sleep 1000
            """
        let error = try await error { try await shell(script, clock: ReadyClock(pipe: pipe)) }
        #expect(error.reason == .deadlineExceeded(.seconds(7)) && error.code == .deadlineExceeded)
        #expect(error.message == "the command /bin/sh took more than 7s and was killed")
        #expect(try await pipe.ended())
    }

    @Test("a program's end is the end of the command: a child that keeps the output open is killed")
    func killsBackground() async throws {
        let pipe = try ReadyPipe(in: folder)
        let result = try await shell("exec 3>'\(pipe.path)'; sleep 1000 & echo done; exit 4")
        #expect(result.outputText == "done\n" && result.status == .exited(4))
        #expect(try await pipe.ended())
    }

    @Test("a program that closes its outputs and works on is under the deadline as well, and its status is read")
    func killsSilent() async throws {
        let pipe = try ReadyPipe(in: folder)
        let script = "exec 3>'\(pipe.path)' >&- 2>&-; echo ready >&3; sleep 1000"
        let error = try await error { try await shell(script, clock: ReadyClock(pipe: pipe)) }
        #expect(error.reason == .deadlineExceeded(.seconds(7)))
        #expect(try await pipe.ended())
        #expect(try await shell("exec >&- 2>&-; cat /dev/null; exit 5").status == .exited(5))
    }

    @Test("what a program leaves behind in its session ends with it")
    func killsLeftOver() async throws {
        let pipe = try ReadyPipe(in: folder)
        let script = "exec 3>'\(pipe.path)'; set -m; sleep 1000 >/dev/null 2>&1 & echo done"
        #expect(try await shell(script).outputText == "done\n")
        #expect(try await pipe.ended())
    }

    @Test("a child that escaped into a session of its own and keeps the output does not hold drp up")
    func leavesEscaped() async throws {
        let pipe = try ReadyPipe(in: folder)
        let pid = folder.path("pid")
        let script = "setsid sh -c 'echo $$ >\(pid); exec 3>\(pipe.path); echo ready >&3; while echo x >&2; do :; done'"
        do {
            _ = try await shell(script, clock: ReadyClock(pipe: pipe))
        } catch let error as CommandError {
            // What it writes without end can be read until the deadline.
            #expect(error.reason == .deadlineExceeded(.seconds(7)))
        }
        // Its output is closed now: it ends by its next line.
        #expect(try await pipe.ended())
    }

    @Test("a cancelled task kills the session too")
    func killsWhenCancelled() async throws {
        let pipe = try ReadyPipe(in: folder)
        let script = "exec 3>'\(pipe.path)'; sleep 1000 & echo ready >&3; sleep 1000"
        let task = Task { try await shell(script) }
        try await pipe.ready()
        task.cancel()
        await #expect(throws: CancellationError.self) { _ = try await task.value }
        #expect(try await pipe.ended())
    }

    @Test("many programs run at once, and each gets its own answer")
    func runsMany() async throws {
        try await withThrowingTaskGroup(of: (Int, String).self) { group in
            for number in 0..<24 { group.addTask { (number, try await shell("echo \(number)").outputText) } }
            for try await (number, text) in group { #expect(text == "\(number)\n") }
        }
    }
}
