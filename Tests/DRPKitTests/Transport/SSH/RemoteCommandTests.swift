import Foundation
import TestSupport
import Testing

@testable import DRPKit

@Suite("Remote commands")
struct RemoteCommandTests {
    private static let shells = ["/bin/sh", "/bin/bash"]

    @Test("any argument arrives as exactly one argument, whatever the shell", arguments: shells)
    func quotes(shell: String) async throws {
        var generator = SeededGenerator(seed: 11)
        for _ in 0..<40 {
            let arguments = (0..<8).map { _ in
                String(
                    String.UnicodeScalarView(
                        (0..<Int.random(in: 0...12, using: &generator)).compactMap { _ in
                            // Mostly ASCII with all its control characters but NUL, where shells are special.
                            Unicode.Scalar(
                                UInt32.random(
                                    in: 1...(Bool.random(using: &generator) ? 0x7f : 0x3000), using: &generator))
                        }))
            }
            let command = try RemoteCommand(["printf", "%s\\0"] + arguments, mark: "m")
            let result = try await CommandRunner().run([shell, "-c", command.line], deadline: .seconds(20))
            let answer = try #require(command.answer(in: result.output), "seed 11: \(arguments)")
            #expect(
                answer.status == 0 && answer.output == arguments.flatMap { Array($0.utf8) + [0] },
                "seed 11: \(arguments)")
        }
    }

    @Test(
        "a word that a shell would understand is only ever a program's name",
        arguments: ["if", "exit", "A=b", "[", ":", "a b", "$(x)"])
    func programs(name: String) async throws {
        let command = try RemoteCommand([name, "x"], mark: "m")
        let result = try await CommandRunner().run(["/bin/sh", "-c", command.line], deadline: .seconds(20))
        let answer = try #require(command.answer(in: result.output))
        #expect(answer.status == 127 || name == "[" && answer.status == 2, "\(answer)")
    }

    @Test("what is no command is refused")
    func refuses() {
        for wrong in [[], [""], ["-x"], ["a", "b\u{0}"], ["a", String(repeating: "x", count: 100 << 10)]] {
            #expect(throws: RemoteCommandError.self) { try RemoteCommand(wrong, mark: "m") }
        }
    }

    @Test("an answer needs both marks and a status, in their order; every truncation lacks one")
    func frames() throws {
        let command = try RemoteCommand(["x"], mark: "7")
        let whole = Array("noise\ndrp-7-begin\nout\ndrp-6-end 0\n\ndrp-7-end 12\n".utf8)
        let answer = try #require(command.answer(in: whole))
        #expect(answer.status == 12 && String(decoding: answer.output, as: UTF8.self) == "out\ndrp-6-end 0\n")
        for count in 0..<whole.count { #expect(command.answer(in: Array(whole.prefix(count))) == nil, "\(count)") }
        for wrong in ["\ndrp-7-end 0\n\ndrp-7-begin\n", "\ndrp-7-begin\n\ndrp-7-end x\n", "\ndrp-7-end 0\n"] {
            #expect(command.answer(in: Array(wrong.utf8)) == nil, "\(wrong)")
        }
    }
}
