import Foundation
import TestSupport
import Testing

@testable import DRPKit

@Suite struct SecretSourceTests {
    let folder: TemporaryFolder
    init() throws { folder = try TemporaryFolder() }

    private static let canary = "canary-5f0c"

    private func resolver(_ more: [String: String] = [:]) -> SecretResolver {
        let environment = ["PATH": "/usr/bin:/bin", "SECRET": Self.canary].merging(more) { $1 }
        return SecretResolver(
            environment: environment, runner: CommandRunner(environment: environment, clock: PatientClock()))
    }

    private func file(_ text: String, _ name: String = "secret") throws -> SecretSource {
        try Data(text.utf8).write(to: URL(fileURLWithPath: folder.path(name)))
        return .file(path: folder.path(name))
    }

    private func text(_ source: SecretSource, _ more: [String: String] = [:]) async throws -> String {
        try await resolver(more).resolve(source).withText { $0 }
    }

    /// The reason; and no text of the error holds the value.
    private func refusal(_ source: SecretSource, _ more: [String: String] = [:]) async throws -> SecretError.Reason {
        let error = try #require(await #expect(throws: SecretError.self) { _ = try await text(source, more) })
        #expect(error.code == .secretUnavailable && error.message.contains("\(source)"))
        var dumped = ""
        dump(error, to: &dumped)
        #expect(!"\(error) \(error.message) \(error.advice) \(dumped)".contains(Self.canary))
        return error.reason
    }

    @Test("a secret comes out of a file, a variable, a program or a credential of systemd")
    func resolves() async throws {
        #expect(try await text(try file(Self.canary + "\n")) == Self.canary)
        #expect(try await text(.env(name: "SECRET")) == Self.canary)
        #expect(try await text(.command(arguments: ["echo", Self.canary])) == Self.canary)
        _ = try file(Self.canary, "db")
        #expect(try await text(.credential(name: "db"), ["CREDENTIALS_DIRECTORY": folder.path]) == Self.canary)
    }

    @Test(
        "one newline at the end is not part of the secret, all else is",
        arguments: [("a\n", "a"), ("a\r\n", "a"), ("a\n\n", "a\n"), ("a\r", "a\r"), (" a ", " a "), ("\na", "\na")])
    func cutsNewline(written: String, wanted: String) async throws {
        #expect(try await text(try file(written)) == wanted)
        #expect(try await text(.env(name: "S"), ["S": written]) == wanted)
        #expect(try await text(.command(arguments: ["printf", "%s", written])) == wanted)
    }

    @Test("a secret is read anew each time")
    func readsAnew() async throws {
        let source = try file("one")
        #expect(try await text(source) == "one")
        _ = try file("two")
        #expect(try await text(source) == "two")
    }

    @Test("a file that is missing, empty, too large or no file is named so")
    func refusesFiles() async throws {
        #expect(try await refusal(.file(path: folder.path("none"))) == .missing)
        #expect(try await refusal(.file(path: folder.path("none/below"))) == .missing)
        #expect(try await refusal(try file("")) == .empty)
        #expect(try await refusal(try file("\n")) == .empty)
        #expect(try await refusal(.file(path: folder.path)) == .notARegularFile)
        #expect(try await refusal(.file(path: "/dev/zero")) == .notARegularFile)
        #expect(mkfifo(folder.path("fifo"), 0o600) == 0)
        #expect(try await refusal(.file(path: folder.path("fifo"))) == .notARegularFile)
        let full = String(repeating: Self.canary, count: 1 + SecretResolver.maximumSize / Self.canary.utf8.count)
        let fitting = String(full.prefix(SecretResolver.maximumSize))
        #expect(try await text(try file(fitting)) == fitting)
        #expect(try await refusal(try file(full)) == .tooLarge)
    }

    @Test("a file that this account may not read is named so", .enabled(if: getuid() != 0, "root may read everything"))
    func refusesUnreadable() async throws {
        let source = try file(Self.canary)
        try FileManager.default.setAttributes([.posixPermissions: 0], ofItemAtPath: folder.path("secret"))
        #expect(try await refusal(source) == .denied)
    }

    @Test("a variable that is not set or empty is named so")
    func refusesVariables() async throws {
        #expect(try await refusal(.env(name: "NONE")) == .missing)
        #expect(try await refusal(.env(name: "EMPTY"), ["EMPTY": ""]) == .empty)
    }

    @Test("a program that fails is named without its arguments and without a byte of its output")
    func refusesCommands() async throws {
        _ = try file(Self.canary)
        let path = folder.path("secret")
        func shell(_ script: String) -> SecretSource { .command(arguments: ["/bin/sh", "-c", script]) }
        #expect(
            try await refusal(shell("cat '\(path)'; cat '\(path)' >&2; exit 3")) == .commandFailed("exit status 3"))
        #expect(try await refusal(shell("cat '\(path)'; kill -9 $$")) == .commandFailed("ended by signal 9"))
        #expect(try await refusal(shell("yes \"$(cat '\(path)')\"")) == .tooLarge)
        #expect(try await refusal(shell(":")) == .empty)
        for (arguments, reason) in [
            (["/nonexistent"], "was not found or is not executable"),
            ([], "is neither an absolute path nor a bare name, or an argument holds a NUL"),
            (["a/b"], "is neither an absolute path nor a bare name, or an argument holds a NUL"),
        ] { #expect(try await refusal(.command(arguments: arguments)) == .commandFailed(reason)) }
        let error = await #expect(throws: SecretError.self) {
            _ = try await text(.command(arguments: ["/nonexistent", Self.canary]))
        }
        #expect(error.map { !"\($0) \($0.message) \($0.advice)".contains(Self.canary) } == true)
    }

    @Test("a program that hangs is killed at its deadline, and what it wrote is not shown")
    func refusesHanging() async throws {
        let pipe = try ReadyPipe(in: folder)
        let script = "exec 3>'\(pipe.path)'; echo \(Self.canary); echo ready >&3; sleep 1000"
        let resolver = SecretResolver(
            environment: [:],
            runner: CommandRunner(environment: ["PATH": "/usr/bin:/bin"], clock: ReadyClock(pipe: pipe)))
        let error = await #expect(throws: SecretError.self) {
            _ = try await resolver.resolve(.command(arguments: ["/bin/sh", "-c", script]))
        }
        #expect(error?.reason == .commandFailed("took more than 10s and was killed"))
        #expect(error.map { !"\($0) \($0.message)".contains(Self.canary) } == true)
        #expect(try await pipe.ended())
    }

    @Test("a program gets no variable of drp's that holds a secret")
    func keepsVariables() async throws {
        #expect(try await text(.command(arguments: ["/usr/bin/env"])) == "PATH=/usr/bin:/bin")
    }

    @Test("a credential lies in the folder of systemd and nowhere else")
    func refusesCredentials() async throws {
        #expect(try await refusal(.credential(name: "db")) == .noCredentialsDirectory)
        #expect(
            try await refusal(.credential(name: "db"), ["CREDENTIALS_DIRECTORY": "relative"]) == .noCredentialsDirectory
        )
        _ = try file(Self.canary)
        let below = folder.path("below")
        try FileManager.default.createDirectory(atPath: below, withIntermediateDirectories: true)
        for name in ["none", "../secret", "", ".", "..", ".hidden", "/etc/passwd", "a/../../secret", "a\u{0}b"] {
            #expect(try await refusal(.credential(name: name), ["CREDENTIALS_DIRECTORY": below]) == .missing, "\(name)")
        }
    }

    @Test("a file that everybody may read is noticed")
    func noticesModes() throws {
        let source = try file(Self.canary)
        for (mode, isOpen) in [(0o600, false), (0o640, false), (0o644, true), (0o604, true)] {
            try FileManager.default.setAttributes([.posixPermissions: mode], ofItemAtPath: folder.path("secret"))
            #expect(resolver().isWorldReadable(source) == isOpen, "\(mode)")
        }
        #expect(resolver().isWorldReadable(.file(path: folder.path("none"))) == nil)
        #expect(resolver().isWorldReadable(.env(name: "SECRET")) == nil)
    }

    @Test("a secret prints as <secret>, however it is shown")
    func neverPrints() throws {
        let secret = Secret(Self.canary)
        var dumped = ""
        dump(["a": secret], to: &dumped)
        let texts = ["\(secret)", String(reflecting: secret), "\([secret])", "\(Optional(secret) as Any)", dumped]
        for text in texts { #expect(!text.contains(Self.canary) && text.contains("<secret>"), "\(text)") }
    }
}
