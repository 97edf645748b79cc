/** Where webhooks may go. */
import { describe, expect, it } from "vitest";
import { isPublicAddress, parseHookUrl } from "../../src/core/webhook-address.ts";

const refused = [
  "127.0.0.1",
  "10.1.2.3",
  "172.31.255.255",
  "192.168.0.1",
  "169.254.169.254",
  "169.254.170.2",
  "100.64.0.1",
  "0.0.0.0",
  "224.0.0.1",
  "255.255.255.255",
  "::",
  "::1",
  "fe80::1",
  "fc00::1",
  "fd00:ec2::254",
  "::ffff:127.0.0.1",
  "::ffff:7f00:1",
  "::127.0.0.1",
  "64:ff9b::a9fe:a9fe",
  "2002:7f00:1::",
  "2001:0:7f00:1::",
  "2001:db8::1",
  "ff02::1",
  "",
  "not an address",
];

describe("an address", () => {
  it.each(refused)("%s is not public", (address) => {
    expect(isPublicAddress(address)).toBe(false);
  });

  it.each(["1.1.1.1", "93.184.216.34", "172.32.0.1", "100.128.0.1", "2606:4700:4700::1111", "2a00:1450:4001::8a"])(
    "%s is public",
    (address) => {
      expect(isPublicAddress(address)).toBe(true);
    },
  );
});

describe("the URL of a webhook", () => {
  it.each([
    "https://127.0.0.1/",
    "https://2130706433/",
    "https://0x7f000001/",
    "https://0177.0.0.1/",
    "https://127.1/",
    "https://0/",
    "https://[::1]/",
    "https://[::ffff:169.254.169.254]/",
    "https://[fd00:ec2::254]/latest/meta-data",
    "https://169.254.170.2/v2/credentials",
    "https://localhost/",
    "https://LOCALHOST./",
    "https://a.localhost/",
    "https://metadata.google.internal/",
    "https://１２７.0.0.1/",
    "http://example.com/",
    "ftp://example.com/",
    "file:///etc/passwd",
    "https://user:secret@example.com/",
    "/relative",
    "",
    `https://example.com/${"a".repeat(2100)}`,
  ])("%s is refused", (url) => {
    expect(() => parseHookUrl(url, [])).toThrow(/the webhook's URL/);
  });

  it("of a public https host is taken, and of an allowed host whatever it is", () => {
    expect(parseHookUrl("https://example.com:8443/hook?a=1", []).host).toBe("example.com:8443");
    expect(parseHookUrl("http://127.0.0.1:9/hook", ["127.0.0.1"]).port).toBe("9");
    expect(() => parseHookUrl("http://127.0.0.2:9/hook", ["127.0.0.1"])).toThrow(/https/);
  });
});
