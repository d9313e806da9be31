import { paletteCss } from './palette.ts';

/** The report's whole style sheet. Figures come in two widths, so that their text has its true size on a phone too. */
export const css = `${paletteCss}
*{box-sizing:border-box}
html{-webkit-text-size-adjust:100%;text-size-adjust:100%;scroll-behavior:smooth}
body{margin:0;background:var(--page);color:var(--text);font:16px/1.55 system-ui,-apple-system,'Segoe UI',Roboto,'Helvetica Neue',Arial,sans-serif}
main{max-width:62rem;margin:0 auto;padding:2.5rem 1.25rem 4rem}
a{color:inherit}
h1{font-size:clamp(1.6rem,1.1rem + 2.2vw,2.5rem);line-height:1.16;letter-spacing:-.02em;font-weight:680;margin:.3rem 0 1rem;max-width:24em;text-wrap:balance}
h2{font-size:1.3rem;letter-spacing:-.01em;line-height:1.3;margin:0 0 .4rem;font-weight:650}
h3{font-size:.95rem;margin:0 0 .25rem;font-weight:620;overflow-wrap:anywhere}
p{margin:0 0 .8rem;max-width:44rem}
section{margin-top:3.2rem;padding-top:1.6rem;border-top:1px solid var(--line)}
.kicker{color:var(--muted);font-size:.875rem;margin:0;overflow-wrap:anywhere;max-width:none}
.lead{font-size:1.06rem}
.note,figcaption,.muted{color:var(--muted);font-size:.9rem}
nav{display:flex;flex-wrap:wrap;gap:.25rem 1.1rem;font-size:.9rem;margin-top:1.4rem}
nav a{color:var(--muted);text-decoration:none}
nav a:hover{color:var(--text);text-decoration:underline}
.steps{display:grid;grid-template-columns:repeat(auto-fit,minmax(13.5rem,1fr));gap:1rem;margin:1.6rem 0 1rem;padding:0;list-style:none}
.steps li{background:var(--panel);border-radius:.6rem;padding:1rem 1.15rem .95rem}
.steps .what{font-weight:620;font-size:.95rem}
.steps .figure{font-size:2.5rem;line-height:1.15;font-weight:640;letter-spacing:-.03em;font-variant-numeric:tabular-nums;margin:.25rem 0 .15rem}
.steps .unit{font-size:.95rem;font-weight:400;letter-spacing:0;color:var(--muted);margin-left:.35rem}
.steps .how{color:var(--muted);font-size:.88rem;line-height:1.45;overflow-wrap:anywhere}
figure{margin:1.1rem 0 0;break-inside:avoid}
figcaption{max-width:44rem;margin:0 0 .8rem}
figure+p{margin-top:1.3rem}
svg{display:block;max-width:100%;height:auto;overflow:visible;font-family:inherit}
svg text{white-space:pre}
.narrow{display:none}
.panels{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(100%,var(--min,17rem)),1fr));gap:1.6rem 1.8rem}
.panels>div{min-width:0;break-inside:avoid}
.panels svg{width:100%;max-width:30rem}
.swatch{display:inline-block;width:.72em;height:.72em;border-radius:.2em;margin-right:.45em;vertical-align:-.02em}
.scroll{overflow-x:auto;margin:1rem 0;-webkit-overflow-scrolling:touch}
table{border-collapse:collapse;font-size:.86rem;font-variant-numeric:tabular-nums;line-height:1.35;width:100%}
th,td{padding:.42rem .8rem .42rem 0;text-align:left;vertical-align:top;border-bottom:1px solid var(--line)}
thead th{vertical-align:bottom;font-weight:560;color:var(--muted);font-size:.8rem;min-width:4.6rem}
tbody th{font-weight:560;min-width:13rem;unicode-bidi:isolate;max-width:18rem;overflow-wrap:anywhere}
td.r,th.r{text-align:right;padding:.42rem 0 .42rem .8rem}
td.r{white-space:nowrap}
.r+th:not(.r),.r+td:not(.r){padding-left:1.2rem}
.scroll.wide-table tbody th,.scroll.wide-table thead th:first-child{position:sticky;left:0;background:var(--page)}
tr.group th{padding-top:1.1rem;font-weight:620;max-width:none}
.grouped tbody th{font-weight:400;min-width:7rem}
.grouped tr.group th{font-weight:620}
.grouped tbody.group th,.grouped tbody.group td{color:var(--muted);border-bottom:0;padding-top:1rem}
dl{display:grid;grid-template-columns:minmax(8rem,max-content) 1fr;gap:.3rem 1.4rem;font-size:.9rem;margin:1rem 0}
dt{color:var(--muted)}
dd{margin:0;overflow-wrap:anywhere}
details{margin-top:1.1rem}
summary{cursor:pointer;font-size:.92rem;color:var(--muted)}
summary:hover{color:var(--text)}
pre{background:var(--panel);border-radius:.5rem;padding:.9rem 1rem;overflow-x:auto;font:.8rem/1.5 ui-monospace,SFMono-Regular,Menlo,Consolas,monospace}
code{font:.88em ui-monospace,SFMono-Regular,Menlo,Consolas,monospace}
.key{display:flex;flex-wrap:wrap;align-items:center;gap:.3rem .6rem;font-size:.85rem;color:var(--muted);margin:0 0 1rem}
.ramp{display:inline-block;width:9rem;height:.7rem;border-radius:.2rem;background:linear-gradient(to right,var(--cold),transparent,var(--warm))}
footer{margin-top:3rem;color:var(--muted);font-size:.85rem}
@media screen and (max-width:45rem){
main{padding:1.5rem 1rem 3rem}section{margin-top:2.4rem;padding-top:1.3rem}
.wide{display:none}.narrow{display:block}
tbody th{min-width:6.5rem;max-width:9rem}
dl{grid-template-columns:1fr;gap:0 0}dd{margin-bottom:.6rem}
}
@media print{
body{font-size:10pt}main{max-width:none;padding:0}nav,summary{display:none}
section{margin-top:1.4rem;padding-top:.9rem}h2{break-after:avoid}figcaption{break-after:avoid}
.scroll{overflow:visible}table{font-size:7.5pt}thead th{min-width:0;font-size:7pt}tbody th{min-width:6rem}td.r,th.r{padding-left:.4rem}.steps li,pre{border:1px solid var(--line);background:none}
*{-webkit-print-color-adjust:exact;print-color-adjust:exact}
}`;
