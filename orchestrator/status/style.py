"""How the page looks, and what its browser may load: nothing but this (pure)."""

from base64 import b64encode
from collections.abc import Mapping
from hashlib import sha256

from orchestrator.delivery.answer import PRIVATE

# Contrasts are at least 4.5 to 1 for text and 3 to 1 for the lines of pictures, in both schemes (WCAG 2.2, AA).
STYLE = """
:root{color-scheme:light dark;--page:#f6f7f9;--card:#fff;--text:#1d2530;--quiet:#566171;--line:#dfe3e9;--link:#0a58c2;
--ok:#11703a;--ok-back:#e6f4eb;--attention:#8a5300;--attention-back:#fdf1dc;--problem:#b3261e;--problem-back:#fcebe9;
--runs:#2f6fd0;--runs-back:#dce8fa;--waits:#b45f06}
@media(prefers-color-scheme:dark){:root{--page:#11151b;--card:#191f27;--text:#e4e8ee;--quiet:#a0abb9;--line:#2c3540;
--link:#84b6ff;--ok:#6fcf97;--ok-back:#16291e;--attention:#f0b75e;--attention-back:#2d2414;--problem:#ff9a91;
--problem-back:#331b1a;--runs:#6fa8f5;--runs-back:#1d2f49;--waits:#f0b75e}}
*{box-sizing:border-box}
html{-webkit-text-size-adjust:100%}
body{margin:0;background:var(--page);color:var(--text);
font:1rem/1.5 system-ui,-apple-system,"Segoe UI",Roboto,sans-serif}
.skip{position:absolute;left:-999rem}
.skip:focus{left:1rem;top:1rem;padding:.5rem 1rem;background:var(--card);z-index:1}
header,main,footer{max-width:76rem;margin:0 auto;padding:0 1.25rem}
header{padding-top:2rem}
h1{font-size:1.5rem;line-height:1.25;margin:0;font-weight:650;letter-spacing:-.01em}
h2{font-size:1.125rem;margin:2.5rem 0 .75rem;font-weight:650}
h3{font-size:1rem;margin:0;font-weight:650;overflow-wrap:anywhere}
p{margin:.25rem 0}
a{color:var(--link);text-underline-offset:.2em;text-decoration-thickness:1px}
a:hover{text-decoration-thickness:2px}
:focus-visible{outline:3px solid var(--link);outline-offset:2px;border-radius:3px}
.quiet{color:var(--quiet);font-size:.9375rem}
.remarks{list-style:none;margin:1.25rem 0 0;padding:0;display:grid;gap:.5rem}
.remarks li{padding:.75rem 1rem;border-radius:8px;border-left:4px solid;overflow-wrap:anywhere}
.remarks strong{margin-right:.5em}
.ok{color:var(--ok)}.attention{color:var(--attention)}.problem{color:var(--problem)}
.remarks .ok{background:var(--ok-back)}.remarks .attention{background:var(--attention-back)}
.remarks .problem{background:var(--problem-back)}
.figures{display:grid;grid-template-columns:repeat(auto-fit,minmax(9.5rem,1fr));gap:.75rem;margin:1.25rem 0 0}
.figures div,.card{background:var(--card);border:1px solid var(--line);border-radius:10px;padding:1rem 1.125rem}
.figures dt{color:var(--quiet);font-size:.875rem}
.figures dd{margin:0;font-size:1.75rem;line-height:1.25;font-weight:600;font-variant-numeric:tabular-nums}
.pools{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,21rem),1fr));gap:.75rem}
.card dl{display:grid;grid-template-columns:auto 1fr;gap:.125rem 1rem;margin:.625rem 0;font-size:.9375rem}
.card dt{color:var(--quiet)}
.card dd{grid-column:2;margin:0;font-variant-numeric:tabular-nums;overflow-wrap:anywhere}
figure{margin:.75rem 0 0}
svg{display:block;width:100%;height:4rem}
.axis{stroke:var(--line)}.area{fill:var(--runs-back)}
.runs,.waits{fill:none;stroke-width:1.75;stroke:var(--runs)}
.waits{stroke:var(--waits);stroke-dasharray:4 2.5}
.axis,.runs,.waits{vector-effect:non-scaling-stroke}
.scale,figcaption{display:flex;flex-wrap:wrap;gap:0 1.25rem;color:var(--quiet);font-size:.8125rem}
.scale{justify-content:space-between;margin-top:.125rem}
.key{white-space:nowrap}
.key i{display:inline-block;width:1.5em;border-top:2px solid var(--runs);vertical-align:.25em;margin-right:.375em}
.key i.dashed{border-top:2px dashed var(--waits)}
.table{width:100%;border-collapse:separate;border-spacing:0;background:var(--card);border:1px solid var(--line);
border-radius:10px;font-size:.9375rem}
.table caption{text-align:left;color:var(--quiet);font-size:.875rem;padding:0 0 .5rem}
.table th{text-align:left;font-weight:600}
.table thead th{color:var(--quiet);font-size:.8125rem;white-space:nowrap}
.table th,.table td{padding:.5rem .875rem;border-top:1px solid var(--line);vertical-align:top;overflow-wrap:anywhere}
.table thead th{border-top:0}
.table tbody th{font-weight:400;min-width:12rem}
.tight{white-space:nowrap;font-variant-numeric:tabular-nums}
.state{white-space:nowrap;font-weight:600;font-size:.875rem}
footer{padding-top:2rem;padding-bottom:2.5rem;color:var(--quiet);font-size:.875rem}
@media(max-width:29.99rem){header{padding-top:1.25rem}.figures{grid-template-columns:1fr 1fr}}
@media(max-width:55.99rem){
.table thead{position:absolute;left:-999rem}
.table,.table tbody,.table th,.table td,.table caption{display:block}
.table{background:none;border:0}
.table tr{display:flex;flex-wrap:wrap;gap:0 1.5rem;background:var(--card);
border:1px solid var(--line);border-radius:10px;padding:.625rem .875rem;margin:0 0 .5rem}
.table thead tr{padding:0;margin:0;border:0}
.table tbody th,.table td{border:0;padding:.125rem 0;min-width:0;max-width:100%}
.table tbody th{flex:0 0 100%}
.table td[data-label]::before{content:attr(data-label) " ";color:var(--quiet)}
}
@media(prefers-contrast:more){:root{--quiet:var(--text);--line:var(--text)}}
@media print{body{background:none}.refresh,.skip{display:none}}
"""

_HASH = b64encode(sha256(STYLE.encode()).digest()).decode()

# What goes along with the page: nothing is loaded, framed or sent.
HEADERS: Mapping[str, str] = {
    "Content-Security-Policy": f"default-src 'none'; style-src 'sha256-{_HASH}'; img-src data:; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'",
    **PRIVATE,
}
