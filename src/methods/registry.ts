import { centralised } from './centralised.ts';
import { ditto } from './ditto.ts';
import { fedAlora } from './fed-alora.ts';
import { fedadagrad } from './fedadagrad.ts';
import { fedadam } from './fedadam.ts';
import { fedalt } from './fedalt.ts';
import { fedavgm } from './fedavgm.ts';
import { feddpa } from './feddpa.ts';
import { fedSb } from './fed-sb.ts';
import { fedexLora } from './fedex-lora.ts';
import { fedit } from './fedit.ts';
import { fedloraOptimizer } from './fedlora-optimizer/method.ts';
import { fedper } from './fedper.ts';
import { fedprox } from './fedprox.ts';
import { fedsaLora } from './fedsa-lora.ts';
import { fedyogi } from './fedyogi.ts';
import { ffaLora } from './ffa-lora.ts';
import { flexlora } from './flexlora.ts';
import { flora } from './flora.ts';
import { floraNa } from './flora-na.ts';
import { hetlora } from './hetlora.ts';
import { localOnly } from './local-only.ts';
import { loraFair } from './lora-fair.ts';
import type { Method } from './method.ts';
import { rolora } from './rolora.ts';
import { scaffold } from './scaffold.ts';

/** The methods that a configuration can name, in the order in which they are listed. */
export const methods: readonly Method[] = [
  fedloraOptimizer,
  fedit,
  fedprox,
  scaffold,
  fedavgm,
  fedadagrad,
  fedadam,
  fedyogi,
  ffaLora,
  fedsaLora,
  fedAlora,
  rolora,
  fedexLora,
  flora,
  flexlora,
  hetlora,
  loraFair,
  floraNa,
  fedSb,
  fedper,
  ditto,
  feddpa,
  fedalt,
  localOnly,
  centralised,
];
