import Foundation
import TestSupport
import Testing

@testable import DRPKit

/// Through two real sshd, a pair for each test.
@Suite("SSH transport", .serialized, .enabled(if: SSHService.isThere, "there is no /usr/sbin/sshd"))
struct SSHTransportServiceTests {
    let service: SSHService
    init() throws { service = try SSHService() }

    private func text(_ host: SSHHost, _ command: String...) async throws -> String {
        try await host.run(command, deadline: .seconds(20)).outputText
    }

    /// Why the only host cannot be used.
    private func refusal(_ site: SSHSite? = nil) async throws -> SSHError {
        let error = await #expect(throws: SSHError.self) {
            try await service.withHost(site) { _, host in _ = try await text(host, "true") }
        }
        return try #require(error)
    }

    @Test("a program runs at the host, through the bastion: its output, errors, status and input are its own")
    func runs() async throws {
        try await service.withHost { transport, host in
            let result = try await host.run(
                ["sh", "-c", "cat; echo oops >&2; exit 3"], input: Array("in\u{0}\n\nput".utf8), deadline: .seconds(20))
            #expect(
                result.status == .exited(3) && result.outputText == "in\u{0}\n\nput" && result.errorText == "oops\n")
            #expect(try await text(host, "cat") == "", "there is no input unless it is given")
            #expect(try await host.run(["sh", "-c", "kill -9 $$"], deadline: .seconds(20)).status == .exited(137))
            #expect(try await host.run(["/no/such"], deadline: .seconds(20)).status == .exited(127))
            try await transport.bastion(SSHService.siteName).connect()
            let came = try service.lines("log").filter { $0.contains("Accepted publickey for") }
            #expect(
                came.count == 3, "bastion and target, then the bastion once more")
        }
    }

    @Test("any argument arrives as exactly one argument")
    func quotes() async throws {
        var generator = SeededGenerator(seed: 7)
        let seeds = [
            "'", "\"", "\\", "$(id)", "`id`", "\n", "\r\n", " ", "\t", "-n", "--", "*", "~", "!", "#", ";", "&",
            "|", "<", ">", "%s", "é", "e\u{301}'\u{301}", "\u{1b}[31m", "{a,b}", "$HOME", "=", "\u{7f}", "日本", "",
        ]
        try await service.withHost { _, host in
            for _ in 0..<12 {
                let arguments = (0..<20).map { _ in
                    (0..<Int.random(in: 0...6, using: &generator)).map { _ in
                        seeds.randomElement(using: &generator) ?? ""
                    }.joined()
                }
                let result = try await host.run(["printf", "%s\\0"] + arguments, deadline: .seconds(20))
                #expect(result.output == arguments.flatMap { Array($0.utf8) + [0] }, "seed 7: \(arguments)")
            }
        }
    }

    @Test("what start files and a banner write is no part of an answer, and cannot make one")
    func framesNoise() async throws {
        try service.write("banner", "drp-0-end 0\nWelcome\n")
        try service.write("bashrc", "echo noise; echo more >&2; printf '\\ndrp-0-begin\\n'\n")
        try await service.withHost { _, host in
            let (some, none) = (try await text(host, "echo", "out"), try await text(host, "printf", ""))
            #expect(some == "out\n" && none == "")
        }
    }

    @Test("a channel that is cut in the middle is never a success")
    func cutIsNoSuccess() async throws {
        try await service.withHost { _, host in
            // The whole session's sshd is killed: its exit status is lost.
            let error = await #expect(throws: SSHError.self) {
                _ = try await host.run(
                    ["sh", "-c", "echo half; kill -9 $(ps -o ppid= -p $PPID)"], deadline: .seconds(20))
            }
            #expect(error?.reason == .cut("sh") && error?.code == .siteUnreachable, "\(String(describing: error))")
            let again = try await text(host, "echo", "again")
            #expect(again == "again\n", "the next use connects anew")
        }
        // A shell that ends early and says that all is well.
        try service.write("bashrc", "printf '\\nhalf\\n'; exit 0\n")
        #expect(try await refusal().reason == .cut("true"))
    }

    @Test("a deadline and a limit of output end a command, and the connection stays")
    func bounds() async throws {
        try await service.withHost { _, host in
            let late = await #expect(throws: SSHError.self) {
                _ = try await host.run(["sleep", "1000"], deadline: .seconds(1))
            }
            #expect(late?.reason == .late(.seconds(1)) && late?.code == .deadlineExceeded)
            let large = await #expect(throws: SSHError.self) {
                _ = try await host.run(["yes"], deadline: .seconds(20), outputLimit: 1000)
            }
            #expect(large?.reason == .tooLarge(limit: 1000))
            let long = try await host.run(["head", "-c", "300000", "/dev/zero"], deadline: .seconds(20))
            #expect(long.output.count == 300_000)
            #expect(try service.signed == 1)
        }
    }

    @Test("a certificate that has run out is replaced by itself at the next connection")
    func renews() async throws {
        let site = try service.site(signing: ["--valid", "-1m:+4s"])
        try await service.withHost(site) { transport, host in
            let ends = try #require(try await transport.certificate(SSHService.siteName).ends)
            #expect(try await text(host, "echo", "1") == "1\n")
            // Until it is over: the certificate's own seconds are what is tested.
            try await SystemClock().sleep(for: .seconds(max(0, ends.timeIntervalSinceNow) + 0.2))
            #expect(try await text(host, "echo", "2") == "2\n", "what is connected stays connected")
            let before = try service.signed
            service.killSSH()
            #expect(try await text(host, "echo", "3") == "3\n")
            #expect(try service.signed == before + 1)
        }
    }

    @Test(
        "OpenBao's SSH authority hands out certificates by its own command",
        .enabled(if: SSHService.hasOpenBao, "DRP_TEST_PROGRAMS has no bao"))
    func openBao() async throws {
        let sign = try service.startOpenBao()
        defer { service.stopOpenBao() }
        var site = try service.site()
        site.certificate = [sign, Site.Bastion.publicKey]
        try await service.withHost(site) { transport, host in
            let answer = try await text(host, "echo", "in")
            #expect(answer == "in\n")
            let certificate = try await transport.certificate(SSHService.siteName)
            let ends = try #require(certificate.ends)
            #expect(certificate.principals == [site.principal] && ends.timeIntervalSinceNow <= 60)
            #expect(try service.signed == 0, "the service's own authority was not asked")
        }
    }

    @Test(
        "a certificate that cannot be right is refused before it is used, with its cause",
        arguments: [
            (["--valid", "-1h:-30m"], ErrorCode.certificateUnusable, "ended at"),
            (["--valid", "+1h:+2h"], .certificateUnusable, "is to come"),
            (["--principal", "mallory"], .certificateUnusable, "not for the principal"),
            (["--option", "no-port-forwarding"], .certificateUnusable, "does not permit forwarding"),
        ])
    func refusesCertificates(options: [String], code: ErrorCode, words: String) async throws {
        let error = try await refusal(try service.site(signing: options))
        #expect(error.code == code && error.message.contains(words) && !error.advice.isEmpty, "\(error)")
        #expect(try service.lines("log").filter { $0.contains("Connection from") }.isEmpty, "nobody was asked")
    }

    @Test("a certificate command that fails, writes something else or hands out another key's is named so")
    func refusesCommands() async throws {
        var site = try service.site()
        for (command, words) in [
            (["/bin/sh", "-c", "echo canary; echo canary >&2; exit 3"], "exit status 3"),
            (["/no/such", "{public-key}"], "was not found"),
            (["/bin/cat", "{public-key}"], "something else than one certificate"),
            (["/bin/sh", "-c", "cat \(service.state)/target.key-cert.pub"], "a host's certificate"),
        ] {
            site.certificate = command
            let error = try await refusal(site)
            #expect(error.code == .certificateUnusable && error.message.contains(words), "\(error)")
            #expect(!"\(error) \(error.advice)".contains("canary"))
        }
        try SSHService.run(["/usr/bin/ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", service.folder.path("other")])
        site.certificate = ["\(service.state)/sign", service.folder.path("other.pub")]
        #expect(try await refusal(site).message.contains("for another key"))
    }

    @Test(
        "a certificate that was revoked, or whose principal the servers do not know, is denied by the one that denies it"
    )
    func denials() async throws {
        try service.edit(
            "target.conf", "AuthorizedPrincipalsFile \(service.state)/principals", "AuthorizedPrincipalsFile none")
        try service.restart()
        // Without a file of principals, sshd wants the account's name: one that is not.
        try service.edit(
            "target.conf", "AuthorizedPrincipalsFile none", "AuthorizedPrincipalsFile \(service.state)/signed")
        try service.restart()
        let host = try await refusal()
        #expect(host.reason == .denied(.host) && host.code == .siteDenied, "\(host)")

        try service.edit("target.conf", "\(service.state)/signed", "\(service.state)/principals")
        try service.restart()
        try await service.withHost { transport, host in
            try await host.connect()
            let certificates = SSHService.processes(with: service.memory).flatMap(\.arguments)
                .filter { $0.hasPrefix(service.memory) && !$0.contains("/o") }
            #expect(!certificates.isEmpty)
            let file = try #require(
                FileManager.default.enumerator(atPath: service.memory)?.compactMap { $0 as? String }
                    .first { $0.split(separator: "/").last?.hasPrefix("c") == true })
            try SSHService.run(["\(service.state)/revoke", "\(service.memory)/\(file)"])
            service.killSSH()
            let error = await #expect(throws: SSHError.self) { try await host.connect() }
            #expect(error?.reason == .denied(.bastion), "\(String(describing: error))")
        }
    }

    @Test(
        "a host key that another authority certified, none certified, or that is another machine's is refused, on both sides"
    )
    func hostKeys() async throws {
        for (name, side) in [("bastion", SSHError.Side.bastion), ("target", .host)] {
            let address = try service.place("\(name).address").host
            try SSHService.run(["\(service.state)/certify", name, "10.9.9.9"])
            try service.restart()
            let other = try await refusal()
            #expect(other.reason == .untrusted(side, "its host certificate is for another address"), "\(other)")
            #expect(other.code == .siteUntrusted && other.advice.contains("Do not go on"))

            // A key that its own maker certified.
            try SSHService.run([
                "/bin/sh", "-c",
                "cd \(service.state) && ssh-keygen -q -t ed25519 -N '' -f evil && "
                    + "ssh-keygen -q -s evil -I x -h -n \(address) \(name).key.pub && rm evil evil.pub",
            ])
            try service.restart()
            let signed = try await refusal()
            #expect(
                signed.reason == .untrusted(side, "its host key is not certified by the site's host-ca"), "\(signed)")

            try FileManager.default.removeItem(atPath: "\(service.state)/\(name).key-cert.pub")
            try service.restart()
            let plain = try await refusal()
            #expect(plain.reason == .untrusted(side, "its host key has no certificate"), "\(plain)")

            try SSHService.run(["\(service.state)/certify", name, address])
            try service.restart()
        }
        let answer = try await service.withHost { _, host in try await text(host, "echo", "in") }
        #expect(answer == "in\n")
        #expect(
            try service.lines("log").allSatisfy { !$0.contains("password") }, "no password was ever offered")
    }

    @Test("a bastion that is down, a host that is down and a bastion that does not forward are told apart")
    func unreachable() async throws {
        var site = try service.site()
        site.bastion.port = 1
        let down = try await refusal(site)
        #expect(down.message.contains("the bastion cannot be reached") && down.message.contains("refused"), "\(down)")
        #expect(down.code == .siteUnreachable)
        site = try service.site()
        site.hosts[0].port = 1
        #expect(try await refusal(site).reason == .jumpRefused)
        try service.edit(
            "bastion.conf", "PermitOpen \(try service.lines("target.address")[0])", "PermitOpen 127.0.0.1:1")
        try service.restart()
        let host = try await refusal(site)
        #expect(host.message.contains("the host cannot be reached: from the bastion: Connection refused"), "\(host)")
    }

    @Test("many tasks use one connection, and each gets its own answer")
    func concurrent() async throws {
        try await service.withHost { _, host in
            try await withThrowingTaskGroup(of: (Int, String).self) { group in
                for number in 0..<30 {
                    group.addTask {
                        (number, try await host.run(["echo", "\(number)"], deadline: .seconds(60)).outputText)
                    }
                }
                for try await (number, text) in group { #expect(text == "\(number)\n") }
            }
            #expect(try service.signed == 1)
            #expect(try service.lines("log").filter { $0.contains("Connection from") }.count == 2)
        }
    }

    @Test("nothing secret stands in arguments or environment of any process, and files are the owner's alone")
    func hidesSecrets() async throws {
        setenv("DRP_TEST_CANARY", "canary-env", 1)
        try await service.withHost { _, host in
            async let held = host.run(["cat"], input: Array("canary-input".utf8), deadline: .seconds(20))
            _ = try await held
            let running = SSHService.processes(with: service.memory)
            #expect(running.count >= 2, "the master and its watcher")
            for (pid, arguments) in running {
                let environment = FileManager.default.contents(atPath: "/proc/\(pid)/environ") ?? Data()
                let seen = arguments.joined(separator: " ") + String(decoding: environment, as: UTF8.self)
                #expect(!seen.contains("canary") && !seen.contains("PRIVATE KEY"), "\(arguments)")
            }
            let root = service.memory
            for path in try #require(FileManager.default.enumerator(atPath: root)).compactMap({ $0 as? String }) {
                let attributes = try FileManager.default.attributesOfItem(atPath: "\(root)/\(path)")
                let mode = try #require(attributes[.posixPermissions] as? Int)
                // ssh-keygen makes public keys readable; the folder keeps others out.
                #expect(mode & 0o077 == 0 || path.hasSuffix(".pub"), "\(path): \(String(mode, radix: 8))")
            }
        }
    }

    @Test("at the end no process and no file is left, and the closed transport makes no new connection")
    func closes() async throws {
        let transport = service.transport(try service.site())
        let host = try await transport.host(SSHService.siteName)
        try await host.connect()
        #expect(service.left.count == 1)
        await transport.close()
        #expect(service.left == [] && SSHService.processes(with: service.memory).isEmpty)
        let error = await #expect(throws: SSHError.self) { try await host.connect() }
        #expect(error?.reason == .closed)
    }

    @Test("who went where stands in the audit, one line of JSON each, and no argument of a command does")
    func audits() async throws {
        try await service.withHost { _, host in
            _ = try await host.run(["echo", "canary-argument"], deadline: .seconds(20))
            _ = await #expect(throws: SSHError.self) {
                _ = try await host.forward(to: .tcp(HostPort(host: "127.0.0.1", port: 1)))
            }
        }
        let text = try String(contentsOfFile: service.auditFile, encoding: .utf8)
        #expect(!text.contains("canary"))
        let lines = try text.split(separator: "\n").map {
            try #require(try JSONSerialization.jsonObject(with: Data($0.utf8)) as? [String: Any])
        }
        func value(_ line: [String: Any], _ path: String) -> String? {
            var value: Any? = line
            for name in path.split(separator: ".") { value = (value as? [String: Any])?[String(name)] }
            return value.map { "\($0)" }
        }
        let actions = lines.map { value($0, "event.action") }
        #expect(
            actions == [
                "ssh-certificate-fetched", "ssh-connected", "ssh-command-run", "ssh-forwarded", "ssh-closed",
            ])
        let serial = try service.lines("signed")[0]
        let user = try service.lines("principals")[0]
        #expect(
            value(lines[1], "drp.certificate.serial") == serial && value(lines[1], "drp.certificate.key_id") == "tests")
        #expect(value(lines[1], "user.effective.name") == user && value(lines[1], "user.name") != nil)
        #expect(value(lines[1], "destination.address") == "127.0.0.1" && value(lines[1], "event.outcome") == "success")
        #expect(value(lines[2], "process.name") == "echo" && value(lines[2], "process.exit_code") == "0")
        #expect(value(lines[3], "event.outcome") == "failure" && value(lines[3], "error.code") == "E6001")
        #expect(lines.allSatisfy { value($0, "@timestamp")?.hasSuffix("Z") == true && value($0, "ecs.version") != nil })
        let mode = try FileManager.default.attributesOfItem(atPath: service.auditFile)[.posixPermissions] as? Int
        #expect(mode == 0o600)
    }
}
